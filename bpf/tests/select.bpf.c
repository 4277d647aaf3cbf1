// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     tc, run by tests alone on a packet that carries the question: calls the same
 *           select_backend() as the hooks do. (A syscall program would be sleepable, and those may
 *           not use a trie or an LRU map.)
 * Reads:    settings, frontends, networks, tables, slots, backends, loads.
 * Writes:   cursors, affinities, counters, and the packet.
 * Verdict:  left in the packet.
 * On internal error: the packet comes back unchanged.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/dns.h>
#include <kmesh/service.h>
#include <kmesh/waypoint.h>

/* Behind the Ethernet header of the packet. */
struct select_call {
	struct frontend_key key;
	__u32 client_hash;
	__u64 netns_cookie;
	__u32 first;
	__u32 second;
	__u32 verdict;
	__u32 reason;
	__u32 backend;
	struct ip_address address;
	__be16 port;
	__u16 by_waypoint;
	__u32 client_flags;
	__u32 reserved;
};

SEC("tc")
int test_select(struct __sk_buff *skb)
{
	struct select_call call = {};
	struct selection selection = {};
	struct client client = {};
	struct dice dice = {};

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &call, sizeof(call)))
		return TC_ACT_SHOT;
	client.netns_cookie = call.netns_cookie;
	client.hash = call.client_hash;
	client.flags = call.client_flags;
	dice.first = call.first;
	dice.second = call.second;

	call.verdict = select_backend(&call.key, &client, &dice, &selection);
	call.reason = selection.reason;
	call.backend = selection.backend;
	call.address = selection.address;
	call.port = selection.port;
	call.by_waypoint = selection.by_waypoint;
	bpf_skb_store_bytes(skb, ETH_HLEN, &call, sizeof(call), 0);
	return TC_ACT_OK;
}

/* One instance of each shared type that no map mentions, so that all are in BTF. */
struct connection_event anchor_event;
struct header_wait anchor_header_wait;
enum reason anchor_reason;
enum limit anchor_limit;
enum dns_number anchor_dns_number;
enum waypoint_number anchor_waypoint_number;

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
