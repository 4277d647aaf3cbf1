// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     cgroup/getpeername4, cgroup/getpeername6: the application asks whom it is connected to.
 * Reads:    sockets.
 * Writes:   nothing.
 * Verdict:  the answer is the address that the application dialled; these hooks cannot refuse.
 * On internal error: a socket that is not in `sockets` keeps its real peer.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/sock_addr.h>
#include <kmesh/socket.h>

static __always_inline struct socket_meta *rewritten(struct bpf_sock_addr *ctx)
{
	struct socket_meta *meta = socket_find(ctx, (__u64)ctx->sk);

	return meta && meta->balanced ? meta : NULL;
}

SEC("cgroup/getpeername4")
int kmesh_getpeername4(struct bpf_sock_addr *ctx)
{
	struct socket_meta *meta = rewritten(ctx);

	if (meta)
		sock_addr_set_v4(ctx, &meta->original_address, meta->original_port);
	return SOCK_ADDR_PROCEED;
}

SEC("cgroup/getpeername6")
int kmesh_getpeername6(struct bpf_sock_addr *ctx)
{
	struct socket_meta *meta = rewritten(ctx);

	if (meta)
		sock_addr_set_v6(ctx, &meta->original_address, meta->original_port);
	return SOCK_ADDR_PROCEED;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
