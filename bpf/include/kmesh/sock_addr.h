/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading and rewriting the destination of a struct bpf_sock_addr, for either family. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "address.h"

/* What a cgroup/sock_addr program returns. */
#define SOCK_ADDR_REFUSE 0
#define SOCK_ADDR_PROCEED 1

static __always_inline __be16 sock_addr_port(const struct bpf_sock_addr *ctx)
{
	return (__be16)ctx->user_port;
}

static __always_inline __u32 sock_addr_mark(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? sk->mark : 0;
}

/* Index of the network device that the socket is bound to, 0 for none. */
static __always_inline __u32 sock_addr_device(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? sk->bound_dev_if : 0;
}

static __always_inline struct ip_address sock_addr_v6(const struct bpf_sock_addr *ctx)
{
	struct ip_address address;

	address.word[0] = ctx->user_ip6[0];
	address.word[1] = ctx->user_ip6[1];
	address.word[2] = ctx->user_ip6[2];
	address.word[3] = ctx->user_ip6[3];
	return address;
}

static __always_inline void sock_addr_set_v4(struct bpf_sock_addr *ctx,
					     const struct ip_address *address, __be16 port)
{
	ctx->user_ip4 = address->word[3];
	ctx->user_port = port;
}

static __always_inline void sock_addr_set_v6(struct bpf_sock_addr *ctx,
					     const struct ip_address *address, __be16 port)
{
	ctx->user_ip6[0] = address->word[0];
	ctx->user_ip6[1] = address->word[1];
	ctx->user_ip6[2] = address->word[2];
	ctx->user_ip6[3] = address->word[3];
	ctx->user_port = port;
}
