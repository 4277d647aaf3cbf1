/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 and IPv6 addresses in the one form that keys and values use. */
#pragma once

#include <stdbool.h>
#include <bpf/bpf_endian.h>

#include "abi.h"

#define V4_MAPPED_WORD2 bpf_htonl(0x0000ffff)

static __always_inline struct ip_address address_from_v4(__be32 v4)
{
	struct ip_address address = { .word = { 0, 0, V4_MAPPED_WORD2, v4 } };

	return address;
}

static __always_inline bool address_is_v4(const struct ip_address *address)
{
	return address->word[0] == 0 && address->word[1] == 0 &&
	       address->word[2] == V4_MAPPED_WORD2;
}

static __always_inline bool address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

/* Loopback, link-local and multicast: never a matter of the registry. */
static __always_inline bool address_is_local(const struct ip_address *address)
{
	__u32 first = bpf_ntohl(address->word[0]);
	__u32 last = bpf_ntohl(address->word[3]);

	if (address_is_v4(address))
		return last >> 24 == 127 || last >> 16 == 0xa9fe || last >> 28 == 0xe || last == 0;
	if (first == 0 && address->word[1] == 0 && address->word[2] == 0)
		return last <= 1;
	return first >> 22 == 0xfe80 >> 6 || first >> 24 == 0xff;
}
