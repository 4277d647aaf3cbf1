/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The header that tells a waypoint where the client wanted to go: type, length and value, before
 * the first byte of the connection.
 *
 *   01 | length, 4 bytes | address, 4 or 16 bytes | port, 2 bytes | fe | 00 00 00 00
 *
 * Everything is in network order; the length is that of address and port.
 */
#pragma once

#include "address.h"
#include "maps.h"
#include "settings.h"

/* Known to user space, too; a test compares them with those of crates/abi/src/waypoint.rs. */
enum waypoint_number {
	HEADER_TYPE_ADDRESS = 0x01,
	HEADER_TYPE_END = 0xfe,
	HEADER_V4_BYTES = 16,
	HEADER_V6_BYTES = 28,
};

struct header_v4 {
	__u8 type;
	__be32 length;
	__be32 address;
	__be16 port;
	__u8 end;
	__be32 end_length;
} __attribute__((packed));

struct header_v6 {
	__u8 type;
	__be32 length;
	struct ip_address address;
	__be16 port;
	__u8 end;
	__be32 end_length;
} __attribute__((packed));

_Static_assert(sizeof(struct header_v4) == HEADER_V4_BYTES, "header of an IPv4 address");
_Static_assert(sizeof(struct header_v6) == HEADER_V6_BYTES, "header of an IPv6 address");

static __always_inline void header_fill_v4(struct header_v4 *header,
					   const struct ip_address *address, __be16 port)
{
	header->type = HEADER_TYPE_ADDRESS;
	header->length = bpf_htonl(sizeof(header->address) + sizeof(header->port));
	header->address = address->word[3];
	header->port = port;
	header->end = HEADER_TYPE_END;
	header->end_length = 0;
}

static __always_inline void header_fill_v6(struct header_v6 *header,
					   const struct ip_address *address, __be16 port)
{
	header->type = HEADER_TYPE_ADDRESS;
	header->length = bpf_htonl(sizeof(header->address) + sizeof(header->port));
	header->address = *address;
	header->port = port;
	header->end = HEADER_TYPE_END;
	header->end_length = 0;
}

/* 0, or a negative errno: the socket's first bytes will not be seen. */
static __always_inline long waypoint_watch(struct bpf_sock_ops *ctx, struct socket_meta *meta)
{
	__u64 cookie = meta->socket_cookie;

	return bpf_sock_hash_update(ctx, &waypoint_sockets, &cookie, BPF_ANY);
}

/* The daemon is about to send the header for a client that is silent, or was a moment ago. */
static __always_inline bool waypoint_is_claimed(const struct socket_meta *meta)
{
	struct settings *node = settings_of_node();

	return node && node->header_claim == meta->socket_cookie;
}

static __always_inline void waypoint_let_go(struct socket_meta *meta)
{
	__u64 cookie = meta->socket_cookie;

	bpf_map_delete_elem(&waypoint_sockets, &cookie);
}
