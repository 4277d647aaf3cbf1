/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The connection that a struct bpf_sk_lookup stands for. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "authz.h"

#define AF_INET 2

/*
 * The words of an IPv6 address are zero in an IPv4 context. They are loaded in any case, and `volatile`
 * keeps it so: of two loads in two branches the compiler makes one at a computed offset, which the
 * verifier refuses.
 */
static __always_inline struct authz_connection sk_lookup_connection(
	const volatile struct bpf_sk_lookup *ctx)
{
	struct authz_connection connection = { .port = ctx->local_port };

	for (int i = 0; i < 4; i++) {
		connection.source.word[i] = ctx->remote_ip6[i];
		connection.destination.word[i] = ctx->local_ip6[i];
	}
	if (ctx->family == AF_INET) {
		connection.source = address_from_v4(ctx->remote_ip4);
		connection.destination = address_from_v4(ctx->local_ip4);
	}
	return connection;
}
