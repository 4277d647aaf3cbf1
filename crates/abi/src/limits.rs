//! Limits that both sides of the kernel boundary know, each a default that configuration can move.
//!
//! Crossing one is never silent: `plan` refuses the object by name, a program counts a [`crate::Reason`].

/// Network namespaces that can be enrolled at once on a node.
pub const ENROLMENTS_MAX: u32 = 16_384;
/// Frontends: (address, port, protocol) triples that applications can dial.
pub const FRONTENDS_MAX: u32 = 131_072;
/// Slot tables: one for each service port and address family.
pub const TABLES_MAX: u32 = 65_536;
/// Slots over all tables, old and new side by side while an update is applied.
pub const SLOTS_MAX: u32 = 1_048_576;
/// Slots of one table. A table of unequal weights is apportioned to at most this many.
pub const SLOTS_PER_TABLE_MAX: u32 = 4_096;
/// Backends: distinct endpoint addresses. Index 0 is never used.
pub const BACKENDS_MAX: u32 = 131_072;
/// Sockets of enrolled namespaces that are remembered: TCP connections of either direction from
/// connect() or accept to their end, and connected datagram sockets.
pub const SOCKETS_MAX: u32 = 262_144;
/// Datagram flows of unconnected sockets, both directions; the least recently used go first.
pub const UDP_FLOWS_MAX: u32 = 65_536;
/// Clients with a session (session affinity), each counted once for each service port; the least
/// recently used go first.
pub const AFFINITIES_MAX: u32 = 65_536;
/// CIDR blocks of ServiceEntries.
pub const NETWORKS_MAX: u32 = 16_384;
/// Resolvers of all enrolled namespaces whose queries the DNS proxy answers.
pub const RESOLVERS_MAX: u32 = 65_536;
/// Size of the event ring in bytes: a power of two and a multiple of the page size.
pub const EVENT_RING_BYTES: u32 = 1 << 20;
/// Connections to waypoints whose first bytes are not acknowledged yet.
pub const WAYPOINT_SOCKETS_MAX: u32 = 65_536;
/// Size of the ring of connections that may need a header, in bytes: a power of two and a multiple of
/// the page size.
pub const HEADER_RING_BYTES: u32 = 1 << 18;
/// Sets of authorization: distinct lists of policies and trusted waypoints, old and new side by side
/// while an update is applied.
pub const AUTHZ_SETS_MAX: u32 = 32_768;
/// Words of all rows of authorization, 64 terms each.
pub const AUTHZ_WORDS_MAX: u32 = 2_097_152;
/// Identities and ports that have a row of their own, each counted once for each set.
pub const AUTHZ_ROWS_MAX: u32 = 524_288;
/// CIDR blocks of policies, each counted once for each set.
pub const AUTHZ_BLOCKS_MAX: u32 = 131_072;
/// Terms of all sets: what rules of policies become.
pub const AUTHZ_TERMS_MAX: u32 = 262_144;
/// Policies that are counted each for itself.
pub const AUTHZ_POLICIES_MAX: u32 = 65_536;
/// Addresses whose owner is known.
pub const AUTHZ_SOURCES_MAX: u32 = 262_144;
/// Addresses of workloads of this node, to which connections are judged.
pub const AUTHZ_DESTINATIONS_MAX: u32 = 131_072;
/// Words of one row. The program walks over so many at most.
pub const AUTHZ_WORDS_PER_SET_MAX: u32 = 256;
/// Terms that one rule of a policy may become.
pub const AUTHZ_TERMS_PER_RULE_MAX: u32 = 256;
/// Frontends that one system call writes or removes.
pub const MAP_BATCH_ENTRIES: u32 = 4_096;
/// Entries of the per-CPU counter array: one for each possible reason.
pub const REASONS_MAX: u32 = 64;

/// Sizes that configuration can move: of the maps, and of one step of writing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`ENROLMENTS_MAX`].
    pub enrolments_max: u32,
    /// See [`FRONTENDS_MAX`].
    pub frontends_max: u32,
    /// See [`TABLES_MAX`].
    pub tables_max: u32,
    /// See [`SLOTS_MAX`].
    pub slots_max: u32,
    /// See [`BACKENDS_MAX`].
    pub backends_max: u32,
    /// See [`SOCKETS_MAX`].
    pub sockets_max: u32,
    /// See [`UDP_FLOWS_MAX`].
    pub udp_flows_max: u32,
    /// See [`AFFINITIES_MAX`].
    pub affinities_max: u32,
    /// See [`NETWORKS_MAX`].
    pub networks_max: u32,
    /// See [`RESOLVERS_MAX`].
    pub resolvers_max: u32,
    /// See [`EVENT_RING_BYTES`].
    pub event_ring_bytes: u32,
    /// See [`WAYPOINT_SOCKETS_MAX`].
    pub waypoint_sockets_max: u32,
    /// See [`HEADER_RING_BYTES`].
    pub header_ring_bytes: u32,
    /// See [`AUTHZ_SETS_MAX`].
    pub authz_sets_max: u32,
    /// See [`AUTHZ_WORDS_MAX`].
    pub authz_words_max: u32,
    /// See [`AUTHZ_ROWS_MAX`].
    pub authz_rows_max: u32,
    /// See [`AUTHZ_BLOCKS_MAX`].
    pub authz_blocks_max: u32,
    /// See [`AUTHZ_TERMS_MAX`].
    pub authz_terms_max: u32,
    /// See [`AUTHZ_POLICIES_MAX`].
    pub authz_policies_max: u32,
    /// See [`AUTHZ_SOURCES_MAX`].
    pub authz_sources_max: u32,
    /// See [`AUTHZ_DESTINATIONS_MAX`].
    pub authz_destinations_max: u32,
    /// See [`MAP_BATCH_ENTRIES`].
    pub map_batch_entries: u32,
}

// === impl Limits ===

impl Limits {
    /// What holds where the configuration says nothing.
    pub const DEFAULT: Self = Self {
        enrolments_max: ENROLMENTS_MAX,
        frontends_max: FRONTENDS_MAX,
        tables_max: TABLES_MAX,
        slots_max: SLOTS_MAX,
        backends_max: BACKENDS_MAX,
        sockets_max: SOCKETS_MAX,
        udp_flows_max: UDP_FLOWS_MAX,
        affinities_max: AFFINITIES_MAX,
        networks_max: NETWORKS_MAX,
        resolvers_max: RESOLVERS_MAX,
        event_ring_bytes: EVENT_RING_BYTES,
        waypoint_sockets_max: WAYPOINT_SOCKETS_MAX,
        header_ring_bytes: HEADER_RING_BYTES,
        authz_sets_max: AUTHZ_SETS_MAX,
        authz_words_max: AUTHZ_WORDS_MAX,
        authz_rows_max: AUTHZ_ROWS_MAX,
        authz_blocks_max: AUTHZ_BLOCKS_MAX,
        authz_terms_max: AUTHZ_TERMS_MAX,
        authz_policies_max: AUTHZ_POLICIES_MAX,
        authz_sources_max: AUTHZ_SOURCES_MAX,
        authz_destinations_max: AUTHZ_DESTINATIONS_MAX,
        map_batch_entries: MAP_BATCH_ENTRIES,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
