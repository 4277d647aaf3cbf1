// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     cgroup/recvmsg4, cgroup/recvmsg6: a datagram was received and the caller asked from whom.
 * Reads:    enrolments, sockets (connected sockets), udp_flows (the others).
 * Writes:   nothing.
 * Verdict:  the sender becomes the address that the application had dialled; these hooks cannot
 *           refuse.
 * On internal error: nothing can fail; an unknown sender is left alone.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/enrolment.h>
#include <kmesh/sock_addr.h>
#include <kmesh/socket.h>
#include <kmesh/udp_flow.h>

struct dialled {
	struct ip_address address;
	__be16 port;
};

static __always_inline bool dialled_by_connect(struct bpf_sock_addr *ctx,
					       const struct ip_address *sender, __be16 port,
					       struct dialled *dialled)
{
	struct socket_meta *meta = socket_find(ctx, (__u64)ctx->sk);

	if (!meta || !meta->balanced || meta->backend_port != port ||
	    !address_equal(&meta->backend_address, sender))
		return false;
	dialled->address = meta->original_address;
	dialled->port = meta->original_port;
	return true;
}

static __always_inline bool dialled_by_datagram(struct bpf_sock_addr *ctx,
						const struct ip_address *sender, __be16 port,
						struct dialled *dialled)
{
	struct udp_flow_key key;
	struct udp_flow *flow;

	flow_key(&key, bpf_get_socket_cookie(ctx), sender, port, FLOW_RECEIVE);
	flow = bpf_map_lookup_elem(&udp_flows, &key);
	if (!flow)
		return false;
	dialled->address = flow->address;
	dialled->port = flow->port;
	return true;
}

static __always_inline bool find_dialled(struct bpf_sock_addr *ctx, const struct ip_address *sender,
					 __be16 port, struct dialled *dialled)
{
	if (!is_enrolled(bpf_get_netns_cookie(ctx)))
		return false;
	return dialled_by_connect(ctx, sender, port, dialled) ||
	       dialled_by_datagram(ctx, sender, port, dialled);
}

SEC("cgroup/recvmsg4")
int kmesh_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct ip_address sender = address_from_v4(ctx->user_ip4);
	struct dialled dialled;

	if (find_dialled(ctx, &sender, sock_addr_port(ctx), &dialled))
		sock_addr_set_v4(ctx, &dialled.address, dialled.port);
	return SOCK_ADDR_PROCEED;
}

SEC("cgroup/recvmsg6")
int kmesh_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct ip_address sender = sock_addr_v6(ctx);
	struct dialled dialled;

	if (find_dialled(ctx, &sender, sock_addr_port(ctx), &dialled))
		sock_addr_set_v6(ctx, &dialled.address, dialled.port);
	return SOCK_ADDR_PROCEED;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
