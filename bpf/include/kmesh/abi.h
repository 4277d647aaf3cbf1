/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct that crosses the boundary between the kernel programs and user space, as a map key, a
 * map value or an event. The Rust twins are in crates/abi; a test compares size and every offset
 * with the BTF of the built object.
 *
 * Rules (ARCHITECTURE.md, A7): sizes never change within one schema number; a new field is taken
 * from `reserved`, where zero means absent. Addresses are 16 bytes in network order, IPv4 in its
 * v4-mapped form (RFC 4291, 2.5.5.2). Ports inside keys and values are in network order.
 */
#pragma once

#include <linux/types.h>

/* An IPv6 address, or an IPv4 address in v4-mapped form. */
struct ip_address {
	__be32 word[4];
};

enum enrolment_flag {
	ENROLMENT_WAYPOINT =
		1, /* serves a waypoint's service: is never sent to a waypoint itself */
};

/* Key of `enrolments`: the cookie of a network namespace (SO_NETNS_COOKIE) is a __u64. */
struct enrolment {
	__u32 flags;
	__u32 client_hash; /* who dials, for consistent hashing: made from the workload's address */
	__u32 reserved[2];
};

/* Key of `resolvers`: a DNS server that a namespace is configured with. The value is not used. */
struct resolver_key {
	__u64 netns_cookie;
	struct ip_address address;
};

enum setting_flag {
	SETTING_REGISTRY_ONLY = 1, /* refuse destinations that nothing in the mesh names */
	SETTING_AUTHZ = 2,	   /* judge inbound connections by policies */
};

/* The one entry of `settings`. */
struct settings {
	__u32 flags;
	__u32 header_sender; /* thread that sends headers for clients that do not speak first, 0: none */
	__u64 dns_heartbeat_ns; /* CLOCK_MONOTONIC of the DNS proxy's last sign of life; 0: none */
	__u64 header_claim; /* cookie of the socket that the header sender is at work on; 0: none */
};

/* What a frontend does with a connection. */
enum frontend_action {
	FRONTEND_BALANCE = 1,	  /* choose a slot of `table` */
	FRONTEND_PASS = 2,	  /* leave the destination alone */
	FRONTEND_REFUSE_PORT = 3, /* a known address, but no such port */
	FRONTEND_WORKLOAD = 4,	  /* the own address of a workload: leave it alone */
};

/*
 * Key of `frontends`: where an application dials. Port 0 with protocol 0 is the whole address: it
 * answers for ports that no other entry names.
 */
struct frontend_key {
	struct ip_address address;
	__be16 port;
	__u8 protocol;
	__u8 reserved;
};

struct frontend {
	__u32 table;
	__u8 action;
	__u8 reserved[7];
	__u32 waypoint; /* TCP goes by a waypoint: its entry of `tables` plus one; 0: no waypoint */
};

/* Where the number comes from that picks a slot. */
enum slot_source {
	SOURCE_RANDOM = 0,
	SOURCE_CLIENT = 1,   /* the client's hash: consistent hashing, over a Maglev table */
	SOURCE_AFFINITY = 2, /* a number drawn once for each client and kept while it is used */
	SOURCE_CURSOR = 3,   /* one after the other */
};

/*
 * Value of `tables`, an array. `extent` is one aligned 64-bit word that user space stores
 * atomically: this store is the flip from the old run of slots to the new one.
 */
struct slot_table {
	__u64 extent;	  /* first slot in the low 32 bits, count in the high 32 */
	__u8 source;	  /* enum slot_source */
	__u8 two_choices; /* draw two slots and take the backend with fewer connections */
	__u16 reserved;
	__u32 affinity_seconds;
};

/* Key and value of `affinities`: which number a client drew for a table. */
struct affinity_key {
	__u64 netns_cookie;
	__u32 table;
	__u32 reserved;
};

struct affinity {
	__u32 number;
	__u32 reserved;
	__u64 used_ns;
};

/* Value of `loads`: live connections of a backend, valid for one incarnation of its index. */
struct backend_load {
	__u32 incarnation;
	__u32 connections;
};

/* Key of `networks`, a longest-prefix trie: CIDR blocks that the registry names. */
struct network_key {
	__u32 prefix_bits; /* of the 128 of the address */
	struct ip_address address;
};

/* The block's frontends have the pseudo address 100::`id` (RFC 6666: never a real destination). */
struct network {
	__u32 id;
	__u32 reserved;
};

/* Value of `slots`, an array. A table's slots are a contiguous run. */
struct slot {
	__u32 backend;
	__be16 port;
	__u16 reserved;
};

/* Value of `backends`, an array. Slot 0 is never used. */
struct backend {
	struct ip_address address;
	__u32 flags;
	__u32 incarnation; /* differs each time that the index is used for another address */
};

enum socket_direction {
	DIRECTION_OUTBOUND = 1,
	DIRECTION_INBOUND = 2,
};

enum socket_state {
	SOCKET_DIALLED = 0,	/* no state callback will come */
	SOCKET_CONNECTING = 1,	/* counted in `loads`, with state callbacks from here on */
	SOCKET_ESTABLISHED = 2, /* reported as opened */
};

/* What is known of the header that tells a waypoint where the client wanted to go. */
enum header_state {
	HEADER_NONE = 0,       /* not by a waypoint */
	HEADER_PENDING = 1,    /* nothing has been sent yet */
	HEADER_SENT = 2,       /* it stands before the first byte of the client */
	HEADER_SENT_AHEAD = 3, /* the daemon sent it, as the client was silent */
};

/*
 * Value of `sockets`: what a socket dialled, and where it was sent. Key: the address of the
 * kernel's socket, a __u64.
 */
struct socket_meta {
	struct ip_address original_address;
	struct ip_address backend_address;
	__be16 original_port;
	__be16 backend_port;
	__u8 direction;
	__u8 state; /* enum socket_state */
	__u8 balanced;
	__u8 protocol;
	__u32 backend;
	__u32 incarnation; /* of the backend */
	__u64 started_ns;
	__u64 netns_cookie;
	__u64 socket_cookie;
	__u32 tgid;  /* by a waypoint: the process that dialled */
	__u8 header; /* enum header_state */
	__u8 reserved[3];
};

/* Record of the ring buffer `header_waits`: a connection by a waypoint was established. */
struct header_wait {
	__u64 socket; /* key of `sockets` */
	__u64 socket_cookie;
	__u64 inode;	      /* of the client's socket, as in /proc/<tgid>/fd */
	__u64 established_ns; /* CLOCK_MONOTONIC */
};

enum flow_direction {
	FLOW_SEND = 1,	  /* dialled address -> backend */
	FLOW_RECEIVE = 2, /* backend -> dialled address */
};

/* Key of `udp_flows`, for datagrams of sockets that are not connected. */
struct udp_flow_key {
	__u64 socket_cookie;
	struct ip_address address;
	__be16 port;
	__u8 direction;
	__u8 reserved[5];
};

struct udp_flow {
	struct ip_address address;
	__be16 port;
	__u16 reserved;
	__u32 slot;   /* the slot that was chosen ... */
	__u64 extent; /* ... and the run of slots that was in force */
};

enum event_kind {
	EVENT_OPENED = 1,
	EVENT_REFUSED = 2, /* by us (reason), or by the peer or network (error) */
	EVENT_CLOSED = 3,
	EVENT_ENDED = 4, /* by us, after a change of policies; EVENT_CLOSED comes besides */
};

/*
 * Record of the ring buffer `events`. It may grow at its end: what a shorter record of an older program
 * lacks is zero.
 */
struct connection_event {
	__u64 time_ns;	  /* CLOCK_MONOTONIC */
	__u64 started_ns; /* when connect() was called, or the connection was accepted */
	__u64 netns_cookie;
	__u64 socket_cookie;
	__u64 bytes_sent;
	__u64 bytes_received;
	struct ip_address local_address;
	struct ip_address remote_address;
	struct ip_address original_address;
	__be16 local_port;
	__be16 remote_port;
	__be16 original_port;
	__u16 reason;	/* enum reason */
	__u16 error;	/* errno of a connect that failed, 0 otherwise */
	__u8 kind;	/* enum event_kind */
	__u8 direction; /* enum socket_direction */
	__u8 protocol;
	__u8 by_waypoint; /* 1: `remote` is a waypoint */
	__u8 by_policy;	  /* 1: `policy` and `rule` say what decided */
	__u8 rule;
	__u32 policy; /* index into `authz_counts` */
	__u32 reserved;
};

/*
 * Authorization. A set is what holds for a workload: its policies, as terms. A term is one bit. A row
 * is the run of words in `authz_words`, one bit for each term of a set, that says which terms hold for
 * a value of one dimension; AUTHZ_ROW_ALL stands for a row of ones.
 *
 * What no policy decides is refused where the set has AUTHZ_SET_HAS_ALLOW. Bits past the last term of
 * a part are 0 in the destination's row.
 */
enum authz_number {
	AUTHZ_SET_INDEX_CLOSED = 0, /* the set that refuses everything */
	AUTHZ_NO_IDENTITY = 0,
	AUTHZ_IDENTITY_CLOSED = 1, /* identities that cannot be told apart: refused */
	AUTHZ_TERM_POLICY_BITS = 24,
};

/* Kept apart: these do not fit into an int. */
#define AUTHZ_ROW_ALL 0xffffffffu
#define AUTHZ_BLOCK_DESTINATION 0x80000000u

/*
 * Value of `authz_destinations`; the key is a struct ip_address. The entry of :: judges connections
 * to all addresses that have none; without it they are refused.
 */
struct authz_destination {
	__u32 set;
	__u32 row;
};

enum authz_source_flag {
	AUTHZ_SOURCE_NODE = 1, /* an address of this node: what it dials is not judged */
};

/*
 * Value of `authz_sources`: who has an address; the key is a struct ip_address. An address that has no
 * entry has that of ::, and where there is none it has no identity.
 */
struct authz_source {
	__u64 identity;
	__u32 flags;
	__u32 reserved;
};

enum authz_dimension {
	AUTHZ_DIMENSION_IDENTITY = 1,
	AUTHZ_DIMENSION_PORT = 2,
};

/* Key of `authz_rows`. A value that has no entry has the set's default row. */
struct authz_row_key {
	__u32 set;
	__u32 dimension;
	__u64 value; /* number of the identity, or the port in host order */
};

enum authz_row_flag {
	AUTHZ_ROW_TRUSTED = 1, /* a waypoint that the set trusts: passes */
};

/* Value of `authz_rows` and `authz_blocks`. */
struct authz_row {
	__u32 row;
	__u32 flags;
};

/*
 * Key of `authz_blocks`, a longest-prefix trie. Blocks of sources have the set's index; blocks of
 * destinations have AUTHZ_BLOCK_DESTINATION besides, for addresses that have no entry in
 * `authz_destinations`. Without a block an address has the default row (source) or the row of ::
 * (destination).
 */
struct authz_block_key {
	__u32 prefix_bits; /* of the 32 of the set and the 128 of the address */
	__u32 set;
	struct ip_address address;
};

enum authz_set_flag {
	AUTHZ_SET_CLOSED = 1,	 /* refuses everything */
	AUTHZ_SET_HAS_ALLOW = 2, /* what no allow term matches is refused */
	AUTHZ_SET_USES_IDENTITY = 4,
	AUTHZ_SET_USES_ADDRESS = 8,
	AUTHZ_SET_USES_PORT = 16,
	AUTHZ_SET_HAS_TRUSTED = 32,
	AUTHZ_SET_USES_DESTINATION = 64, /* matters for the entry of :: alone */
};

/*
 * Value of `authz_sets`, an array. Deny terms stand first, then allow terms, then those that decide
 * nothing; each part begins at a word. A dimension that the set does not use is not looked up, and
 * all its bits hold; but an identity is looked up as well where the set has AUTHZ_SET_HAS_TRUSTED.
 */
struct authz_set {
	__u32 flags;
	__u32 words; /* of a row */
	__u32 deny_words;
	__u32 allow_words;
	__u32 no_identity_row;
	__u32 identity_row;
	__u32 address_row;
	__u32 port_row;
	/*
	 * What a bit stands for, policy slot and rule: entry of `authz_terms` number bit plus that of its
	 * part, modulo 2^32. There are none for the bits that fill up the last word of a part.
	 */
	__u32 deny_terms;
	__u32 allow_terms;
	__u32 undecided_terms;
	__u32 terms; /* how many there are, the first at deny_terms */
	__u32 reserved[4];
};

/* Value of `authz_counts`, a per-CPU array: what a policy did. */
struct authz_count {
	__u64 allowed;
	__u64 denied;
	__u64 dry_run;
};
