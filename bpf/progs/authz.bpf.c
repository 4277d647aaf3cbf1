// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     sk_lookup, in each enrolled network namespace: the kernel looks for the listener that a SYN
 *           is for. Once for each connection that comes in; also for datagrams to sockets that are not
 *           connected, which pass at once.
 * Reads:    settings, authz_sources, authz_destinations, authz_sets, authz_rows, authz_blocks,
 *           authz_words, authz_terms.
 * Writes:   authz_counts, events (a refusal), counters.
 * Verdict:  a connection that the policies of its destination refuse meets no listener: the client gets
 *           a reset, the server nothing. All else goes on. What the workload says to itself, over the
 *           loopback device or from the very address that it dials, is not judged.
 * On internal error: what cannot be judged is refused, authz_closed. Without room in the ring the
 *           refusal stands and event_lost is counted.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/authz.h>
#include <kmesh/authz_report.h>
#include <kmesh/sk_lookup.h>

#define LOOPBACK_IFINDEX 1 /* in every network namespace */

/* Without a device nothing arrived: a program asks for a listener (bpf_sk_lookup_tcp). */
static __always_inline bool is_judged(struct bpf_sk_lookup *ctx)
{
	return ctx->protocol == IPPROTO_TCP && ctx->ingress_ifindex > LOOPBACK_IFINDEX &&
	       authz_is_active();
}

/* Where IPv4 goes to an address of its own, the kernel names the device that has the address. */
static __always_inline bool is_own(const struct authz_connection *connection)
{
	return address_equal(&connection->source, &connection->destination);
}

SEC("sk_lookup")
int kmesh_authz(struct bpf_sk_lookup *ctx)
{
	struct authz_verdict verdict = {};
	struct authz_connection connection;
	struct authz_case at_hand = {};

	if (!is_judged(ctx))
		return SK_PASS;
	connection = sk_lookup_connection(ctx);
	if (is_own(&connection))
		return SK_PASS;
	authz_judge(&connection, &at_hand, &verdict);
	authz_count(&at_hand, &verdict);
	if (verdict.refused)
		authz_report(EVENT_REFUSED, &connection, ctx->remote_port, &verdict);
	return verdict.refused ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
