// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     cgroup/sendmsg4, cgroup/sendmsg6: a datagram sent with an explicit destination.
 * Reads:    enrolments, resolvers, settings, frontends, networks, tables, slots, backends, loads,
 *           udp_flows.
 * Writes:   udp_flows (the flow and the way back), cursors, affinities, counters.
 * Verdict:  a service address is rewritten to one backend, the same one for the same socket while
 *           the service's table stays; a resolver of the namespace is rewritten to the DNS proxy; no
 *           usable endpoint or no such port fails with ECONNREFUSED; all else is left alone.
 * On internal error: a flow that cannot be stored is sent all the same and flow_full is counted;
 *           without a living DNS proxy the resolver itself is asked (dns_proxy_silent).
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/carry_out.h>
#include <kmesh/dns.h>
#include <kmesh/enrolment.h>
#include <kmesh/sock_addr.h>
#include <kmesh/udp_flow.h>

static __always_inline enum verdict decide(struct bpf_sock_addr *ctx,
					   const struct frontend_key *dialled,
					   struct selection *selection)
{
	struct client client = {};
	__u64 socket_cookie;
	enum dns_route route;
	struct dice dice;

	if (!find_client(bpf_get_netns_cookie(ctx), &client))
		return VERDICT_PASS;
	socket_cookie = bpf_get_socket_cookie(ctx);
	route = dns_route(ctx, dialled, &client);
	if (route != DNS_TO_PROXY && flow_continue(socket_cookie, dialled, selection))
		return VERDICT_BALANCE;
	dice = throw_dice();
	if (select_destination(dialled, &client, &dice, route, selection) == VERDICT_BALANCE)
		flow_remember(socket_cookie, dialled, selection);
	else
		count(selection->reason);
	return selection->verdict;
}

SEC("cgroup/sendmsg4")
int kmesh_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct selection selection = {};
	struct frontend_key dialled = {
		.address = address_from_v4(ctx->user_ip4),
		.port = sock_addr_port(ctx),
		.protocol = IPPROTO_UDP,
	};

	return carry_out_v4(ctx, decide(ctx, &dialled, &selection), &selection);
}

SEC("cgroup/sendmsg6")
int kmesh_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct selection selection = {};
	struct frontend_key dialled = {
		.address = sock_addr_v6(ctx),
		.port = sock_addr_port(ctx),
		.protocol = IPPROTO_UDP,
	};

	return carry_out_v6(ctx, decide(ctx, &dialled, &selection), &selection);
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
