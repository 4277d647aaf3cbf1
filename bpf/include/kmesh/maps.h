/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, with its one writer. Maps that user space owns are read-only to programs, save those
 * that it writes through a shared mapping: the kernel refuses a writable mapping of such a map. All
 * are __weak, so that the program files can be linked into one object. Pin names equal map names.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "limits.h"

#define PORT_COUNT 65536

/* Writer: user space. Which network namespaces are in the mesh, by their cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct enrolment);
	__uint(max_entries, ENROLMENTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} enrolments __weak SEC(".maps");

/* Writer: user space. Where applications dial. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
	__uint(max_entries, FRONTENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} frontends __weak SEC(".maps");

/* Writer: user space, through a shared mapping. One run of slots for each service port and family. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct slot_table);
	__uint(max_entries, TABLES_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} tables __weak SEC(".maps");

/* Writer: user space, through a shared mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct slot);
	__uint(max_entries, SLOTS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} slots __weak SEC(".maps");

/* Writer: user space, through a shared mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, BACKENDS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} backends __weak SEC(".maps");

/* Writer: user space, through a shared mapping. What holds for the whole node. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} settings __weak SEC(".maps");

/* Writer: user space. DNS servers whose queries the DNS proxy answers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct resolver_key);
	__type(value, __u32);
	__uint(max_entries, RESOLVERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} resolvers __weak SEC(".maps");

/* Writer: user space. CIDR blocks that the registry names. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct network_key);
	__type(value, struct network);
	__uint(max_entries, NETWORKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} networks __weak SEC(".maps");

/* Writer: programs. The next slot of each table that is gone through in turn. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, TABLES_MAX);
} cursors __weak SEC(".maps");

/* Writer: programs. Live connections of each backend. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct backend_load);
	__uint(max_entries, BACKENDS_MAX);
} loads __weak SEC(".maps");

/* Writer: programs. Which number a client drew; the least recently used are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, AFFINITIES_MAX);
} affinities __weak SEC(".maps");

/* Writer: programs. What each socket of an enrolled namespace dialled: see socket.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct socket_meta);
	__uint(max_entries, SOCKETS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} sockets __weak SEC(".maps");

/* Writer: programs. Datagrams of unconnected sockets; the least recently used are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct udp_flow_key);
	__type(value, struct udp_flow);
	__uint(max_entries, UDP_FLOWS_MAX);
} udp_flows __weak SEC(".maps");

/* Writer: programs. Connections opened, refused and closed. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_RING_BYTES);
} events __weak SEC(".maps");

/*
 * Writer: programs. TCP connections by a waypoint whose header is not acknowledged yet, by their
 * cookie: what they send meets kmesh_header.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__type(key, __u64);
	__type(value, __u64);
	__uint(max_entries, WAYPOINT_SOCKETS_MAX);
} waypoint_sockets __weak SEC(".maps");

/* Writer: the daemon. A socket that takes the headers that came too late: see header.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} header_sink __weak SEC(".maps");

/* Writer: programs. Connections by a waypoint, for whoever sends the header of a silent client. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, HEADER_RING_BYTES);
} header_waits __weak SEC(".maps");

/* Writer: user space. Who has an address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ip_address);
	__type(value, struct authz_source);
	__uint(max_entries, AUTHZ_SOURCES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} authz_sources __weak SEC(".maps");

/* Writer: user space. What judges connections to an address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ip_address);
	__type(value, struct authz_destination);
	__uint(max_entries, AUTHZ_DESTINATIONS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} authz_destinations __weak SEC(".maps");

/* Writer: user space. Rows of identities and ports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct authz_row_key);
	__type(value, struct authz_row);
	__uint(max_entries, AUTHZ_ROWS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} authz_rows __weak SEC(".maps");

/* Writer: user space. Rows of CIDR blocks. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct authz_block_key);
	__type(value, struct authz_row);
	__uint(max_entries, AUTHZ_BLOCKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
} authz_blocks __weak SEC(".maps");

/* Writer: user space, through a shared mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct authz_set);
	__uint(max_entries, AUTHZ_SETS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} authz_sets __weak SEC(".maps");

/* Writer: user space, through a shared mapping. The rows: runs of words, one bit for each term. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, AUTHZ_WORDS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} authz_words __weak SEC(".maps");

/*
 * Writer: user space, through a shared mapping. What each bit of a set stands for, in the low half: an
 * entry of an array takes 64 bits, whatever its value has.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, AUTHZ_TERMS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
} authz_terms __weak SEC(".maps");

/* Writer: programs. What each policy did. User space sets an entry to zero before a policy gets it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct authz_count);
	__uint(max_entries, AUTHZ_POLICIES_MAX);
} authz_counts __weak SEC(".maps");

/*
 * Writer: programs. The ports on which somebody listens in the namespace whose sockets are being looked
 * through, each with the number of that look: entries of an earlier one mean nothing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, PORT_COUNT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} authz_listeners __weak SEC(".maps");

/* Writer: programs. One counter for each enum reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, REASONS_MAX);
} counters __weak SEC(".maps");
