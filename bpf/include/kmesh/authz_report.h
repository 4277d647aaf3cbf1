/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is left of a verdict: counters of the policy and of the reason, and an event. */
#pragma once

#include <linux/in.h>

#include "authz.h"
#include "event.h"

enum authz_deed {
	AUTHZ_ALLOWED,
	AUTHZ_DENIED,
	AUTHZ_DRY_RUN,
};

static __always_inline __u32 authz_term_at(__u32 index)
{
	__u64 *term = bpf_map_lookup_elem(&authz_terms, &index);

	return term ? *term : 0;
}

static __always_inline __u32 authz_policy_of(__u32 term)
{
	return term & ((1 << AUTHZ_TERM_POLICY_BITS) - 1);
}

static __always_inline void authz_count_policy(__u32 policy, enum authz_deed deed)
{
	struct authz_count *count = bpf_map_lookup_elem(&authz_counts, &policy);

	if (!count)
		return;
	if (deed == AUTHZ_ALLOWED)
		count->allowed++;
	else if (deed == AUTHZ_DENIED)
		count->denied++;
	else
		count->dry_run++;
}

/*
 * Counts the policies of the terms of one word that decides nothing, each once: the terms of a policy
 * follow each other, and `last` is the policy that was counted last. Returns the one that is now. Global,
 * as authz_find_term() is: a loop within a loop is more than the verifier walks through.
 */
__weak __noinline __u32 authz_count_word(__u64 bits, __u32 first_term, __u32 last)
{
	for (__u32 step = 0; step < AUTHZ_BITS_PER_WORD && bits; step++) {
		__u32 policy = authz_policy_of(authz_term_at(first_term + authz_lowest_bit(bits)));

		if (policy != last)
			authz_count_policy(policy, AUTHZ_DRY_RUN);
		last = policy;
		bits &= bits - 1;
	}
	return last;
}

/* Counts what matches and decides nothing: words from `first` up to `end`. */
__weak __noinline int authz_count_undecided(const struct authz_rows *rows, __u32 first, __u32 end,
					    __u32 first_term)
{
	__u32 last = AUTHZ_NO_POLICY;

	if (!rows)
		return 0;
	for (__u32 step = 0; step < AUTHZ_WORDS_PER_SET_MAX; step++) {
		__u32 at = first + step;
		__u64 bits;

		if (at >= end || !authz_terms_that_hold(rows, at, &bits))
			break;
		if (bits)
			last = authz_count_word(bits, first_term + at * AUTHZ_BITS_PER_WORD, last);
	}
	return 0;
}

static __always_inline __u32 deciding_words(const struct authz_set *set)
{
	return set->deny_words + set->allow_words;
}

static __always_inline void authz_count(const struct authz_case *at_hand,
					const struct authz_verdict *verdict)
{
	if (verdict->reason)
		count(verdict->reason);
	if (verdict->by_policy)
		authz_count_policy(authz_policy_of(authz_term_at(verdict->term)),
				   verdict->refused ? AUTHZ_DENIED : AUTHZ_ALLOWED);
	if (at_hand->set && at_hand->set->words > deciding_words(at_hand->set))
		authz_count_undecided(&at_hand->rows, deciding_words(at_hand->set),
				      at_hand->set->words, at_hand->set->undecided_terms);
}

/* Without the namespace's cookie, which a program at this place is not told: the local address is known. */
static __always_inline void authz_report(enum event_kind kind,
					 const struct authz_connection *connection,
					 __be16 source_port, const struct authz_verdict *verdict)
{
	struct connection_event *event = event_reserve();
	__u32 term;

	if (!event)
		return;
	event->time_ns = event->started_ns = bpf_ktime_get_ns();
	event->local_address = connection->destination;
	event->local_port = bpf_htons(connection->port);
	event->remote_address = connection->source;
	event->remote_port = source_port;
	event->kind = kind;
	event->reason = verdict->reason;
	event->direction = DIRECTION_INBOUND;
	event->protocol = IPPROTO_TCP;
	if (verdict->by_policy) {
		term = authz_term_at(verdict->term);
		event->by_policy = true;
		event->policy = authz_policy_of(term);
		event->rule = term >> AUTHZ_TERM_POLICY_BITS;
	}
	event_submit(event);
}

/* An established connection is refused now; `reason` of the event says why. */
static __always_inline void authz_report_end(const struct authz_connection *connection,
					     __be16 source_port,
					     const struct authz_verdict *verdict)
{
	count(REASON_AUTHZ_ENDED);
	authz_report(EVENT_ENDED, connection, source_port, verdict);
}
