// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     tc, run by tests alone on a packet that carries connections: calls the same authz_judge() as
 *           the hooks do. (A syscall program would be sleepable, and those may not use a trie.)
 * Reads:    authz_sources, authz_destinations, authz_sets, authz_rows, authz_blocks, authz_words,
 *           authz_terms.
 * Writes:   authz_counts, counters, and the packet.
 * Verdict:  left in the packet.
 * On internal error: the packet comes back unchanged.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/authz.h>
#include <kmesh/authz_report.h>

/* One after the other behind the Ethernet header of the packet. */
struct judge_call {
	struct ip_address source;
	struct ip_address destination;
	__u32 port;
	__u32 refused;
	__u32 reason;
	__u32 by_policy;
	__u32 term;
	__u32 reserved;
};

#define JUDGE_CALLS_MAX 24

/* Global, so that the verifier walks through it once. */
__weak __noinline int judge_at(struct __sk_buff *skb, __u32 offset)
{
	struct judge_call call = {};
	struct authz_connection connection = {};
	struct authz_verdict verdict = {};
	struct authz_case at_hand = {};

	if (bpf_skb_load_bytes(skb, offset, &call, sizeof(call)))
		return -1;
	connection.source = call.source;
	connection.destination = call.destination;
	connection.port = call.port;
	authz_judge(&connection, &at_hand, &verdict);
	authz_count(&at_hand, &verdict);
	call.refused = verdict.refused;
	call.reason = verdict.reason;
	call.by_policy = verdict.by_policy;
	call.term = verdict.by_policy ? authz_term_at(verdict.term) : 0;
	return bpf_skb_store_bytes(skb, offset, &call, sizeof(call), 0);
}

SEC("tc")
int test_judge(struct __sk_buff *skb)
{
	for (__u32 index = 0; index < JUDGE_CALLS_MAX; index++) {
		__u32 offset = ETH_HLEN + index * sizeof(struct judge_call);

		if (offset + sizeof(struct judge_call) > skb->len || judge_at(skb, offset))
			break;
	}
	return TC_ACT_OK;
}

/* One instance of each shared type that no map mentions, so that all are in BTF. */
enum authz_number anchor_authz_number;
enum authz_source_flag anchor_authz_source_flag;
enum authz_dimension anchor_authz_dimension;
enum authz_row_flag anchor_authz_row_flag;
enum authz_set_flag anchor_authz_set_flag;

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
