/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May this connection be? Source, destination and port select one row of bits each, one bit for each
 * term of the destination's policies (abi.h); a term holds where its bit is in all of them. Takes plain
 * values and no context, so that the hooks and the test programs call the very same function.
 *
 * What cannot be judged is refused: a destination without a set, a set that is closed, an identity that
 * could be two, a row that is not there.
 */
#pragma once

#include <stdbool.h>

#include "address.h"
#include "count.h"
#include "maps.h"
#include "settings.h"

#define AUTHZ_BITS_PER_WORD 64
#define AUTHZ_BLOCK_BITS_MAX (32 + 128) /* the set and the whole address */
/* Results of a search for a term, beside its number. */
#define AUTHZ_NO_TERM (-1)
#define AUTHZ_ROW_MISSING (-2)
#define AUTHZ_NO_POLICY (~0u)

struct authz_connection {
	struct ip_address source;
	struct ip_address destination;
	__u32 port; /* of the destination, in host order */
};

struct authz_verdict {
	bool refused;
	bool by_policy;	    /* `term` decided */
	enum reason reason; /* why it is refused, or passes without being judged */
	__u32 term;	    /* entry of `authz_terms` */
};

/* Of each dimension, the row of the connection's value. */
struct authz_rows {
	__u32 source;
	__u32 address; /* of the source */
	__u32 destination;
	__u32 port;
};

/* What a connection is judged by. */
struct authz_case {
	struct authz_set *set;
	__u32 set_index;
	struct authz_rows rows;
};

static __always_inline void authz_refuse(struct authz_verdict *verdict, enum reason reason)
{
	verdict->refused = true;
	verdict->reason = reason;
}

static __always_inline bool authz_is_active(void)
{
	struct settings *node = settings_of_node();

	return node && node->flags & SETTING_AUTHZ;
}

static __always_inline struct authz_source *authz_find_source(const struct ip_address *address)
{
	struct authz_source *source = bpf_map_lookup_elem(&authz_sources, address);
	struct ip_address others = {};

	return source ? source : bpf_map_lookup_elem(&authz_sources, &others);
}

/* One load: the memory of an entry that is replaced may be another entry's at once. */
static __always_inline struct authz_destination authz_load_destination(
	const struct authz_destination *entry)
{
	union {
		__u64 word;
		struct authz_destination value;
	} whole = { .word = *(volatile __u64 *)entry };

	return whole.value;
}

/* The row of an address that has no entry: it shares a set with all others. */
static __always_inline __u32 authz_row_of_other(const struct authz_destination *others,
						const struct ip_address *address)
{
	struct authz_block_key key = {
		.prefix_bits = AUTHZ_BLOCK_BITS_MAX,
		.set = others->set | AUTHZ_BLOCK_DESTINATION,
		.address = *address,
	};
	struct authz_row *found = bpf_map_lookup_elem(&authz_blocks, &key);

	return found ? found->row : others->row;
}

/* Fills the set and the row of the destination; false when nothing can judge. */
static __always_inline bool authz_find_set(const struct ip_address *address,
					   struct authz_case *at_hand)
{
	struct authz_destination *entry = bpf_map_lookup_elem(&authz_destinations, address);
	struct ip_address others = {};
	bool is_other = !entry;
	struct authz_destination found;

	if (is_other)
		entry = bpf_map_lookup_elem(&authz_destinations, &others);
	if (!entry)
		return false;
	found = authz_load_destination(entry);
	if (found.set == AUTHZ_SET_INDEX_CLOSED)
		return false;
	at_hand->set_index = found.set;
	at_hand->set = bpf_map_lookup_elem(&authz_sets, &at_hand->set_index);
	if (!at_hand->set || at_hand->set->flags & AUTHZ_SET_CLOSED)
		return false;
	at_hand->rows.destination = found.row;
	if (is_other && at_hand->set->flags & AUTHZ_SET_USES_DESTINATION)
		at_hand->rows.destination = authz_row_of_other(&found, address);
	return true;
}

static __always_inline struct authz_row *authz_find_row(const struct authz_case *at_hand,
							enum authz_dimension dimension, __u64 value)
{
	struct authz_row_key key = {
		.set = at_hand->set_index,
		.dimension = dimension,
		.value = value,
	};

	return bpf_map_lookup_elem(&authz_rows, &key);
}

/* Fills the row of who the source is; true when it is a waypoint that the set trusts. */
static __always_inline bool authz_find_source_row(__u64 identity, struct authz_case *at_hand)
{
	struct authz_set *set = at_hand->set;
	struct authz_row *found = NULL;

	at_hand->rows.source = AUTHZ_ROW_ALL;
	if (!(set->flags & (AUTHZ_SET_USES_IDENTITY | AUTHZ_SET_HAS_TRUSTED)))
		return false;
	if (identity != AUTHZ_NO_IDENTITY)
		found = authz_find_row(at_hand, AUTHZ_DIMENSION_IDENTITY, identity);
	if (found && found->flags & AUTHZ_ROW_TRUSTED)
		return true;
	if (!(set->flags & AUTHZ_SET_USES_IDENTITY))
		return false;
	if (found)
		at_hand->rows.source = found->row;
	else
		at_hand->rows.source = identity == AUTHZ_NO_IDENTITY ? set->no_identity_row
								     : set->identity_row;
	return false;
}

static __always_inline __u32 authz_row_of_source_address(const struct authz_case *at_hand,
							 const struct ip_address *address)
{
	struct authz_block_key key = {
		.prefix_bits = AUTHZ_BLOCK_BITS_MAX,
		.set = at_hand->set_index,
		.address = *address,
	};
	struct authz_row *found;

	if (!(at_hand->set->flags & AUTHZ_SET_USES_ADDRESS))
		return AUTHZ_ROW_ALL;
	found = bpf_map_lookup_elem(&authz_blocks, &key);
	return found ? found->row : at_hand->set->address_row;
}

static __always_inline __u32 authz_row_of_port(const struct authz_case *at_hand, __u32 port)
{
	struct authz_row *found;

	if (!(at_hand->set->flags & AUTHZ_SET_USES_PORT))
		return AUTHZ_ROW_ALL;
	found = authz_find_row(at_hand, AUTHZ_DIMENSION_PORT, port);
	return found ? found->row : at_hand->set->port_row;
}

/* By halves: for __builtin_ctzll clang makes a table in memory, which would be one map more. */
static __always_inline __u32 authz_lowest_bit(__u64 bits)
{
	__u64 lowest = bits & -bits;

	return !!(lowest & 0xffffffff00000000) << 5 | !!(lowest & 0xffff0000ffff0000) << 4 |
	       !!(lowest & 0xff00ff00ff00ff00) << 3 | !!(lowest & 0xf0f0f0f0f0f0f0f0) << 2 |
	       !!(lowest & 0xcccccccccccccccc) << 1 | !!(lowest & 0xaaaaaaaaaaaaaaaa);
}

/* Takes word `at` of one row into `bits`; false when it is not there. */
static __always_inline bool authz_and_word(__u32 row, __u32 at, __u64 *bits)
{
	__u32 index = row + at;
	__u64 *word;

	if (row == AUTHZ_ROW_ALL)
		return true;
	word = bpf_map_lookup_elem(&authz_words, &index);
	if (!word)
		return false;
	*bits &= *word;
	return true;
}

/* The terms of word `at` that hold in every dimension. */
static __always_inline bool authz_terms_that_hold(const struct authz_rows *rows, __u32 at,
						  __u64 *bits)
{
	*bits = ~0ULL;
	return authz_and_word(rows->destination, at, bits) &&
	       authz_and_word(rows->source, at, bits) && authz_and_word(rows->address, at, bits) &&
	       authz_and_word(rows->port, at, bits);
}

/*
 * The first term that holds in the words from `first` up to `end`, as its bit. Global, so that the verifier
 * walks through the loop once and for itself: inlined, each way out of one loop would go through the next.
 */
__weak __noinline int authz_find_term(const struct authz_rows *rows, __u32 first, __u32 end)
{
	if (!rows)
		return AUTHZ_ROW_MISSING;
	for (__u32 step = 0; step < AUTHZ_WORDS_PER_SET_MAX; step++) {
		__u32 at = first + step;
		__u64 bits;

		if (at >= end)
			return AUTHZ_NO_TERM;
		if (!authz_terms_that_hold(rows, at, &bits))
			return AUTHZ_ROW_MISSING;
		if (bits)
			return at * AUTHZ_BITS_PER_WORD + authz_lowest_bit(bits);
	}
	return first + AUTHZ_WORDS_PER_SET_MAX == end ? AUTHZ_NO_TERM : AUTHZ_ROW_MISSING;
}

static __always_inline void authz_decide_by(__u32 term, struct authz_verdict *verdict)
{
	verdict->by_policy = true;
	verdict->term = term;
}

/* DENY before ALLOW; and where ALLOW policies hold, one of them must match. */
static __always_inline void authz_judge_terms(const struct authz_case *at_hand,
					      struct authz_verdict *verdict)
{
	const struct authz_set *set = at_hand->set;
	__u32 deny_end = set->deny_words;
	int bit = authz_find_term(&at_hand->rows, 0, deny_end);

	if (bit >= 0) {
		authz_refuse(verdict, REASON_AUTHZ_DENIED);
		return authz_decide_by(set->deny_terms + bit, verdict);
	}
	if (bit == AUTHZ_ROW_MISSING)
		return authz_refuse(verdict, REASON_AUTHZ_CLOSED);
	if (!(set->flags & AUTHZ_SET_HAS_ALLOW))
		return;
	bit = authz_find_term(&at_hand->rows, deny_end, deny_end + set->allow_words);
	if (bit >= 0)
		authz_decide_by(set->allow_terms + bit, verdict);
	else
		authz_refuse(verdict,
			     bit == AUTHZ_NO_TERM ? REASON_AUTHZ_NOT_ALLOWED : REASON_AUTHZ_CLOSED);
}

static __always_inline void authz_close(struct authz_case *at_hand, struct authz_verdict *verdict)
{
	at_hand->set = NULL;
	authz_refuse(verdict, REASON_AUTHZ_CLOSED);
}

/*
 * The verdict on one connection; `at_hand` is left for authz_count(), without a set where no term was
 * looked at.
 */
static __always_inline void authz_judge(const struct authz_connection *connection,
					struct authz_case *at_hand, struct authz_verdict *verdict)
{
	struct authz_source *source = authz_find_source(&connection->source);
	__u64 identity = source ? source->identity : AUTHZ_NO_IDENTITY;

	if (source && source->flags & AUTHZ_SOURCE_NODE) {
		verdict->reason = REASON_AUTHZ_NODE;
		return;
	}
	if (!authz_find_set(&connection->destination, at_hand))
		return authz_close(at_hand, verdict);
	if (authz_find_source_row(identity, at_hand)) {
		at_hand->set = NULL;
		verdict->reason = REASON_AUTHZ_TRUSTED_WAYPOINT;
		return;
	}
	if (identity == AUTHZ_IDENTITY_CLOSED && at_hand->set->flags & AUTHZ_SET_USES_IDENTITY)
		return authz_close(at_hand, verdict);
	at_hand->rows.address = authz_row_of_source_address(at_hand, &connection->source);
	at_hand->rows.port = authz_row_of_port(at_hand, connection->port);
	authz_judge_terms(at_hand, verdict);
}
