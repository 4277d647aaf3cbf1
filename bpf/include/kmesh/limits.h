/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Default sizes of the maps. User space may set others before it loads the object; the defaults
 * are those of crates/abi/src/limits.rs, which a test compares with these.
 */
#pragma once

enum limit {
	ENROLMENTS_MAX = 16384,
	FRONTENDS_MAX = 131072,
	TABLES_MAX = 65536,
	SLOTS_MAX = 1048576,
	BACKENDS_MAX = 131072,
	SOCKETS_MAX = 262144,
	UDP_FLOWS_MAX = 65536,
	AFFINITIES_MAX = 65536,
	NETWORKS_MAX = 16384,
	RESOLVERS_MAX = 65536,
	EVENT_RING_BYTES = 1 << 20,
	WAYPOINT_SOCKETS_MAX = 65536,
	HEADER_RING_BYTES = 1 << 18,
	REASONS_MAX = 64,
};
