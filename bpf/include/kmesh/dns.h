/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Queries to a namespace's own resolvers go to the DNS proxy, which listens on loopback in the same
 * namespace. Any other server on port 53 is left alone. A proxy that does not listen there, or shows
 * no sign of life, is passed over: the query goes to the resolver itself.
 */
#pragma once

#include <stdbool.h>
#include <linux/in.h>

#include "service.h"
#include "sock_addr.h"

#define NS_PER_MILLISECOND 1000000ULL
#define LOOPBACK_V4 bpf_htonl(0x7f000001)
/* No table has this extent: the way of a query is chosen anew for each. */
#define DNS_EXTENT (~0ULL)

/* Known to user space, too; a test compares them with those of crates/abi/src/dns.rs. */
enum dns_number {
	DNS_PORT = 53,
	DNS_PROXY_PORT = 15053,
	DNS_SILENCE_MAX_MS = 800,    /* a heartbeat older than this is none */
	DNS_PROXY_MARK = 0x6b6d6e73, /* SO_MARK of the proxy's own queries to the resolvers */
};

enum dns_route {
	DNS_NO_QUERY = 0, /* not to a resolver of the namespace: nothing special */
	DNS_TO_PROXY = 1,
	DNS_TO_RESOLVER = 2, /* as if there were no proxy */
};

static __always_inline bool dns_proxy_lives(void)
{
	struct settings *node = settings_of_node();
	__u64 beat = node ? *(volatile __u64 *)&node->dns_heartbeat_ns : 0;

	return beat && bpf_ktime_get_ns() - beat < DNS_SILENCE_MAX_MS * NS_PER_MILLISECOND;
}

/* The kernel closes the proxy's sockets when it is killed: known before any heartbeat is missed. */
static __always_inline bool dns_proxy_listens(struct bpf_sock_addr *ctx,
					      const struct frontend_key *key)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *listener;
	__u32 size;

	if (address_is_v4(&key->address)) {
		tuple.ipv4.daddr = LOOPBACK_V4;
		tuple.ipv4.dport = bpf_htons(DNS_PROXY_PORT);
		size = sizeof(tuple.ipv4);
	} else {
		tuple.ipv6.daddr[3] = bpf_htonl(1);
		tuple.ipv6.dport = bpf_htons(DNS_PROXY_PORT);
		size = sizeof(tuple.ipv6);
	}
	if (key->protocol == IPPROTO_TCP)
		listener = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		listener = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!listener)
		return false;
	bpf_sk_release(listener);
	return true;
}

static __always_inline bool is_resolver(const struct frontend_key *key, const struct client *client)
{
	struct resolver_key resolver = {
		.netns_cookie = client->netns_cookie,
		.address = key->address,
	};

	return key->port == bpf_htons(DNS_PORT) &&
	       bpf_map_lookup_elem(&resolvers, &resolver) != NULL;
}

static __always_inline enum dns_route dns_route(struct bpf_sock_addr *ctx,
						const struct frontend_key *key,
						const struct client *client)
{
	if (!is_resolver(key, client))
		return DNS_NO_QUERY;
	if (sock_addr_mark(ctx) == DNS_PROXY_MARK)
		return DNS_TO_RESOLVER;
	if (sock_addr_device(ctx)) {
		count(REASON_DNS_SOCKET_BOUND);
		return DNS_TO_RESOLVER;
	}
	if (!dns_proxy_lives() || !dns_proxy_listens(ctx, key)) {
		count(REASON_DNS_PROXY_SILENT);
		return DNS_TO_RESOLVER;
	}
	return DNS_TO_PROXY;
}

static __always_inline enum verdict select_dns_proxy(const struct frontend_key *key,
						     struct selection *selection)
{
	struct ip_address loopback = { .word = { 0, 0, 0, bpf_htonl(1) } };

	if (address_is_v4(&key->address))
		loopback = address_from_v4(LOOPBACK_V4);
	selection->address = loopback;
	selection->port = bpf_htons(DNS_PROXY_PORT);
	selection->extent = DNS_EXTENT;
	return selection->verdict = VERDICT_BALANCE;
}

/* select_backend(), but for queries to the proxy; and a resolver is never foreign to the registry. */
static __always_inline enum verdict select_destination(const struct frontend_key *key,
						       const struct client *client,
						       const struct dice *dice,
						       enum dns_route route,
						       struct selection *selection)
{
	if (route == DNS_TO_PROXY)
		return select_dns_proxy(key, selection);
	if (select_backend(key, client, dice, selection) == VERDICT_REFUSE &&
	    route == DNS_TO_RESOLVER && selection->reason == REASON_NOT_IN_REGISTRY)
		pass(selection, REASON_UNKNOWN_DESTINATION);
	return selection->verdict;
}
