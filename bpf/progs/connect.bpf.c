// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     cgroup/connect4, cgroup/connect6: connect() of a TCP or UDP socket, before any packet.
 * Reads:    enrolments, resolvers, settings, frontends, networks, tables, slots, backends, loads.
 * Writes:   sockets (what was dialled and where it went), cursors, affinities, events (a refusal),
 *           counters.
 * Verdict:  a service address is rewritten to one backend, or to its waypoint, a resolver of the
 *           namespace to the DNS proxy; a service without a usable endpoint, a waypoint without one,
 *           or a port that the service does not have, fails with ECONNREFUSED; all else is left
 *           alone.
 * On internal error: without room in `sockets` the connection is balanced all the same and
 *           sockets_full is counted, but to a waypoint it is refused (waypoint_no_room); a table
 *           that names no backend refuses (backend_missing); without a living DNS proxy the resolver
 *           itself is asked (dns_proxy_silent).
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/carry_out.h>
#include <kmesh/count.h>
#include <kmesh/dns.h>
#include <kmesh/enrolment.h>
#include <kmesh/event.h>
#include <kmesh/service.h>
#include <kmesh/sock_addr.h>
#include <kmesh/socket.h>

/* Remembers the decision with the socket; a later connect() of the same socket replaces it. */
static __always_inline bool remember(struct bpf_sock_addr *ctx, const struct frontend_key *key,
				     const struct selection *selection, __u64 netns_cookie)
{
	bool balanced = selection->verdict == VERDICT_BALANCE;
	struct socket_meta meta = {
		.original_address = key->address,
		.original_port = key->port,
		.backend_address = balanced ? selection->address : key->address,
		.backend_port = balanced ? selection->port : key->port,
		.direction = DIRECTION_OUTBOUND,
		.balanced = balanced,
		.protocol = key->protocol,
		.backend = balanced ? selection->backend : 0,
		.incarnation = balanced ? selection->incarnation : 0,
		.netns_cookie = netns_cookie,
		.started_ns = bpf_ktime_get_ns(),
	};

	if (selection->by_waypoint) {
		meta.header = HEADER_PENDING;
		meta.tgid = bpf_get_current_pid_tgid() >> 32;
	}
	return socket_remember(ctx, (__u64)ctx->sk, &meta);
}

static __always_inline void report_refusal(struct bpf_sock_addr *ctx,
					   const struct frontend_key *key, enum reason reason,
					   __u64 netns_cookie)
{
	struct connection_event *event = event_reserve();

	if (!event)
		return;
	event->time_ns = event->started_ns = bpf_ktime_get_ns();
	event->netns_cookie = netns_cookie;
	event->socket_cookie = bpf_get_socket_cookie(ctx);
	event->original_address = event->remote_address = key->address;
	event->original_port = event->remote_port = key->port;
	event->reason = reason;
	event->error = ECONNREFUSED;
	event->kind = EVENT_REFUSED;
	event->direction = DIRECTION_OUTBOUND;
	event->protocol = key->protocol;
	event_submit(event);
}

/* A datagram socket without a rewrite needs no memory of it, but must lose that of an earlier connect(). */
static __always_inline bool worth_remembering(const struct selection *selection, __u8 protocol)
{
	return protocol == IPPROTO_TCP || selection->verdict == VERDICT_BALANCE;
}

/* Keeps what later stations need. A waypoint would not know where a connection without that goes. */
static __always_inline void keep(struct bpf_sock_addr *ctx, const struct frontend_key *key,
				 struct selection *selection, __u64 netns_cookie)
{
	if (selection->verdict == VERDICT_REFUSE)
		return;
	if (!worth_remembering(selection, key->protocol))
		socket_forget((__u64)ctx->sk);
	else if (!remember(ctx, key, selection, netns_cookie) && selection->by_waypoint)
		refuse(selection, REASON_WAYPOINT_NO_ROOM);
}

static __always_inline enum verdict decide(struct bpf_sock_addr *ctx, struct frontend_key *key,
					   struct selection *selection)
{
	__u64 netns_cookie = bpf_get_netns_cookie(ctx);
	struct client client = {};
	enum dns_route route;
	struct dice dice;

	if (!find_client(netns_cookie, &client))
		return selection->verdict = VERDICT_PASS;
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return selection->verdict = VERDICT_PASS;

	key->protocol = ctx->protocol;
	route = dns_route(ctx, key, &client);
	dice = throw_dice();
	select_destination(key, &client, &dice, route, selection);
	keep(ctx, key, selection, netns_cookie);
	if (selection->verdict != VERDICT_BALANCE)
		count(selection->reason);
	if (selection->verdict == VERDICT_REFUSE)
		report_refusal(ctx, key, selection->reason, netns_cookie);
	return selection->verdict;
}

SEC("cgroup/connect4")
int kmesh_connect4(struct bpf_sock_addr *ctx)
{
	struct selection selection = {};
	struct frontend_key key = {
		.address = address_from_v4(ctx->user_ip4),
		.port = sock_addr_port(ctx),
	};

	return carry_out_v4(ctx, decide(ctx, &key, &selection), &selection);
}

SEC("cgroup/connect6")
int kmesh_connect6(struct bpf_sock_addr *ctx)
{
	struct selection selection = {};
	struct frontend_key key = {
		.address = sock_addr_v6(ctx),
		.port = sock_addr_port(ctx),
	};

	return carry_out_v6(ctx, decide(ctx, &key, &selection), &selection);
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
