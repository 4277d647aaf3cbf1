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
	HEADER_NONE = 0,    /* not by a waypoint */
	HEADER_PENDING = 1, /* nothing has been sent yet */
	HEADER_SENT = 2,    /* it stands before the first byte of the client */
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
	EVENT_REFUSED = 2, /* by us at connect (reason), or by the peer or network (error) */
	EVENT_CLOSED = 3,
};

/* Record of the ring buffer `events`. */
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
	__u8 reserved[2];
};
