/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Queries to a namespace's own resolvers go to the DNS proxy, which listens on loopback in the same
 * namespace. Any other server on port 53 is left alone. When the proxy has shown no sign of life for
 * DNS_SILENCE_MAX_NS, queries go to the resolver itself.
 */
#pragma once

#include <stdbool.h>

#include "service.h"

#define DNS_PORT bpf_htons(53)
#define DNS_PROXY_PORT bpf_htons(15053)
#define DNS_SILENCE_MAX_NS 800000000ULL
/* SO_MARK of the proxy's own queries to the resolvers. */
#define DNS_PROXY_MARK 0x6b6d6e73
/* No table has this extent: the choice is made anew for each query. */
#define DNS_EXTENT (~0ULL)

static __always_inline bool dns_proxy_lives(void)
{
	struct settings *node = settings_of_node();

	return node && node->dns_heartbeat_ns &&
	       bpf_ktime_get_ns() - node->dns_heartbeat_ns < DNS_SILENCE_MAX_NS;
}

static __always_inline bool is_resolver(const struct client *client,
					const struct ip_address *address)
{
	struct resolver_key key = {
		.netns_cookie = client->netns_cookie,
		.address = *address,
	};

	return bpf_map_lookup_elem(&resolvers, &key) != NULL;
}

/* Fills `selection` with the proxy when it is to answer what is sent to `key`. */
static __always_inline bool dns_capture(const struct frontend_key *key, const struct client *client,
					__u32 mark, struct selection *selection)
{
	if (key->port != DNS_PORT || mark == DNS_PROXY_MARK)
		return false;
	if (!is_resolver(client, &key->address))
		return false;
	if (!dns_proxy_lives()) {
		count(REASON_DNS_PROXY_SILENT);
		return false;
	}
	if (address_is_v4(&key->address)) {
		selection->address = address_from_v4(bpf_htonl(0x7f000001));
	} else {
		__builtin_memset(&selection->address, 0, sizeof(selection->address));
		selection->address.word[3] = bpf_htonl(1);
	}
	selection->port = DNS_PROXY_PORT;
	selection->extent = DNS_EXTENT;
	selection->verdict = VERDICT_BALANCE;
	return true;
}
