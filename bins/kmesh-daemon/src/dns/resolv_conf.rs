//! Which resolvers a namespace is configured with.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use runtime::{files, netns};

/// As many as the C library asks.
pub const RESOLVERS_OF_NAMESPACE_MAX: usize = 3;
/// Real ones have some hundred bytes.
const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;
/// Where `ip netns` looks for the files of a named namespace.
const NAMED_FILES: &str = "/etc/netns";

/// The resolvers of the namespace at `path`: of the process that the path names, else of the namespace
/// of that name as `ip netns exec` shows it, else those of `node`, the node's own `resolv.conf`.
///
/// # Errors
/// When the file cannot be read.
pub fn resolvers_of(path: &Path, node: &Path) -> io::Result<Vec<IpAddr>> {
    let text = match netns::process_of(path) {
        Some(pid) => {
            read(&PathBuf::from(format!("/proc/{pid}/root")), Path::new("etc/resolv.conf"))
        }
        None => match read(Path::new(NAMED_FILES), &named_file(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => read(Path::new("/"), node),
            other => other,
        },
    }?;
    Ok(dns::nameservers(&text).into_iter().map(|server| server.ip().to_canonical()).collect())
}

/// Below [`NAMED_FILES`].
fn named_file(path: &Path) -> PathBuf {
    Path::new(path.file_name().unwrap_or_default()).join("resolv.conf")
}

fn read(root: &Path, path: &Path) -> io::Result<String> {
    files::read_below(root, path, RESOLV_CONF_BYTES_MAX)
}
