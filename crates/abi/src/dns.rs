//! What the kernel programs and the DNS proxy agree on.

use std::time::Duration;

/// Where resolvers listen.
pub const PORT: u16 = 53;
/// Where the proxy listens, on loopback in each enrolled namespace.
pub const PROXY_PORT: u16 = 15_053;
/// `SO_MARK` of the proxy's own queries, which are not captured.
pub const PROXY_MARK: u32 = 0x6b6d_6e73;
/// Programs pass over a proxy whose last sign of life is older.
pub const SILENCE_MAX: Duration = Duration::from_millis(800);
