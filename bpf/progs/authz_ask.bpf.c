// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     none: user space runs it on a question, a struct bpf_sk_lookup for a connection that exists,
 *           where the kernel has no way to end one from a program (authz_close.bpf.c).
 * Reads:    settings, and what kmesh_authz judges by.
 * Writes:   events (ended), counters.
 * Verdict:  SK_DROP for a connection that the policies of now refuse; user space ends it.
 * On internal error: what cannot be judged is refused, as by kmesh_authz.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/authz.h>
#include <kmesh/authz_report.h>
#include <kmesh/sk_lookup.h>

SEC("sk_lookup")
int kmesh_authz_ask(struct bpf_sk_lookup *ctx)
{
	struct authz_connection connection = sk_lookup_connection(ctx);
	struct authz_verdict verdict = {};
	struct authz_case at_hand = {};

	if (!authz_is_active())
		return SK_PASS;
	authz_judge(&connection, &at_hand, &verdict);
	if (!verdict.refused)
		return SK_PASS;
	authz_report_end(&connection, ctx->remote_port, &verdict);
	return SK_DROP;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
