// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     syscall, run by tests alone: calls the same select_backend() as the hooks do.
 * Reads:    frontends, tables, slots, backends.
 * Writes:   nothing but its own context.
 * Verdict:  left in the context.
 * On internal error: cannot fail.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/service.h>

struct select_call {
	struct frontend_key key;
	__u32 random;
	__u32 verdict;
	__u32 reason;
	__u32 backend;
	struct ip_address address;
	__be16 port;
	__u16 reserved[3];
};

SEC("syscall")
int test_select(struct select_call *call)
{
	struct selection selection = {};
	struct frontend_key key = call->key;

	call->verdict = select_backend(&key, call->random, &selection);
	call->reason = selection.reason;
	call->backend = selection.backend;
	call->address = selection.address;
	call->port = selection.port;
	return 0;
}

/* One instance of each shared type that no map mentions, so that all are in BTF. */
struct connection_event anchor_event;
enum reason anchor_reason;
enum limit anchor_limit;

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
