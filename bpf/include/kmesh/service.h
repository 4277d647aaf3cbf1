/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a dialled address to a backend: frontend, table, slot, backend. A bounded number of lookups
 * and no other work; everything that could be decided ahead is in the table. Takes plain values and
 * no context, so that the hooks and the test programs call the very same function.
 */
#pragma once

#include <stdbool.h>
#include <linux/in.h>

#include "address.h"
#include "count.h"
#include "enrolment.h"
#include "load.h"
#include "maps.h"
#include "reason.h"
#include "settings.h"

#define NS_PER_SECOND 1000000000ULL
/* First word of the pseudo addresses of CIDR blocks, 100::/64. */
#define NETWORK_WORD0 bpf_htonl(0x01000000)

enum verdict {
	VERDICT_PASS = 0,    /* leave the destination alone */
	VERDICT_BALANCE = 1, /* go to `address`:`port` */
	VERDICT_REFUSE = 2,
};

struct selection {
	enum verdict verdict;
	enum reason reason;
	__u32 slot;
	__u32 backend;
	__u32 incarnation;
	__be16 port;
	bool by_waypoint; /* `address` is a waypoint: it wants to be told what was dialled */
	__u64 extent;
	struct ip_address address;
};

/* Random numbers of one decision; a parameter so that tests can choose them. */
struct dice {
	__u32 first;
	__u32 second;
};

static __always_inline struct dice throw_dice(void)
{
	return (struct dice){ bpf_get_prandom_u32(), bpf_get_prandom_u32() };
}

static __always_inline __u32 extent_first(__u64 extent)
{
	return (__u32)extent;
}

static __always_inline __u32 extent_count(__u64 extent)
{
	return extent >> 32;
}

static __always_inline enum verdict refuse(struct selection *selection, enum reason reason)
{
	selection->reason = reason;
	return selection->verdict = VERDICT_REFUSE;
}

static __always_inline enum verdict pass(struct selection *selection, enum reason reason)
{
	selection->reason = reason;
	return selection->verdict = VERDICT_PASS;
}

/* The current run of slots: one 64-bit load, the other half of user space's one store. */
static __always_inline __u64 current_extent(struct slot_table *table)
{
	return *(volatile __u64 *)&table->extent;
}

static __always_inline __u64 table_extent(__u32 index)
{
	struct slot_table *table = bpf_map_lookup_elem(&tables, &index);

	return table ? current_extent(table) : 0;
}

/* Maps a 32-bit number evenly onto 0..count-1. */
static __always_inline __u32 scale(__u32 number, __u32 count)
{
	return ((__u64)number * count) >> 32;
}

/* The number that the client drew for this table, drawn anew when it was not used for too long. */
static __always_inline __u32 affinity_number(__u32 table, __u32 seconds,
					     const struct client *client, __u32 fresh)
{
	struct affinity_key key = { .netns_cookie = client->netns_cookie, .table = table };
	struct affinity *known = bpf_map_lookup_elem(&affinities, &key);
	__u64 now = bpf_ktime_get_ns();
	struct affinity drawn = { .number = fresh, .used_ns = now };

	if (known && now - known->used_ns < seconds * NS_PER_SECOND) {
		known->used_ns = now;
		return known->number;
	}
	if (bpf_map_update_elem(&affinities, &key, &drawn, BPF_ANY))
		count(REASON_AFFINITY_FULL);
	return fresh;
}

static __always_inline __u32 next_in_turn(__u32 table, __u32 slot_count)
{
	__u32 *cursor = bpf_map_lookup_elem(&cursors, &table);

	return cursor ? __sync_fetch_and_add(cursor, 1) % slot_count : 0;
}

static __always_inline __u32 pick(__u32 index, const struct slot_table *table, __u32 slot_count,
				  const struct client *client, __u32 random)
{
	switch (table->source) {
	case SOURCE_CLIENT:
		return scale(client->hash, slot_count);
	case SOURCE_AFFINITY:
		return scale(affinity_number(index, table->affinity_seconds, client, random),
			     slot_count);
	case SOURCE_CURSOR:
		return next_in_turn(index, slot_count);
	default:
		return scale(random, slot_count);
	}
}

static __always_inline enum verdict take_slot(__u32 index, struct selection *selection)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &index);
	struct backend *backend;

	if (!slot)
		return refuse(selection, REASON_BACKEND_MISSING);
	selection->slot = index;
	selection->backend = slot->backend;
	selection->port = slot->port;
	backend = bpf_map_lookup_elem(&backends, &selection->backend);
	if (!backend || backend->flags == 0)
		return refuse(selection, REASON_BACKEND_MISSING);
	selection->address = backend->address;
	selection->incarnation = backend->incarnation;
	return selection->verdict = VERDICT_BALANCE;
}

/* Power of two choices: the other slot wins only with fewer connections. */
static __always_inline void take_less_loaded(__u32 index, struct selection *selection)
{
	struct selection other = *selection;

	if (take_slot(index, &other) != VERDICT_BALANCE)
		return;
	if (load_of(other.backend, other.incarnation) <
	    load_of(selection->backend, selection->incarnation))
		*selection = other;
}

static __always_inline enum verdict select_slot(__u32 index, const struct client *client,
						const struct dice *dice,
						struct selection *selection)
{
	struct slot_table *table = bpf_map_lookup_elem(&tables, &index);
	__u32 first, slot_count;

	if (!table)
		return refuse(selection, REASON_NO_ENDPOINT);
	selection->extent = current_extent(table);
	first = extent_first(selection->extent);
	slot_count = extent_count(selection->extent);
	if (slot_count == 0)
		return refuse(selection, REASON_NO_ENDPOINT);
	take_slot(first + pick(index, table, slot_count, client, dice->first), selection);
	if (table->two_choices && selection->verdict == VERDICT_BALANCE)
		take_less_loaded(first + scale(dice->second, slot_count), selection);
	return selection->verdict;
}

/* The frontend of a port, else that of the whole address. */
static __always_inline struct frontend *find_at(const struct frontend_key *key)
{
	struct frontend *frontend = bpf_map_lookup_elem(&frontends, key);
	struct frontend_key whole = {};

	if (frontend)
		return frontend;
	whole.address = key->address;
	return bpf_map_lookup_elem(&frontends, &whole);
}

/* The frontend that answers for `key`: at its address, else at the smallest block around it. */
static __always_inline struct frontend *find_frontend(const struct frontend_key *key)
{
	struct network_key block = { .prefix_bits = 128, .address = key->address };
	struct frontend *frontend = find_at(key);
	struct frontend_key in_block = *key;
	struct network *network;

	if (frontend)
		return frontend;
	network = bpf_map_lookup_elem(&networks, &block);
	if (!network)
		return NULL;
	__builtin_memset(&in_block.address, 0, sizeof(in_block.address));
	in_block.address.word[0] = NETWORK_WORD0;
	in_block.address.word[3] = bpf_htonl(network->id);
	return find_at(&in_block);
}

static __always_inline enum verdict unknown(const struct frontend_key *key,
					    struct selection *selection)
{
	struct settings *node = settings_of_node();

	if (node && node->flags & SETTING_REGISTRY_ONLY && !address_is_local(&key->address))
		return refuse(selection, REASON_NOT_IN_REGISTRY);
	return pass(selection, REASON_UNKNOWN_DESTINATION);
}

/* Datagrams have no place for the header, and waypoints themselves go on to the endpoints. */
static __always_inline bool goes_by_waypoint(const struct frontend *frontend,
					     const struct frontend_key *key,
					     const struct client *client)
{
	return frontend->waypoint && key->protocol == IPPROTO_TCP &&
	       !(client->flags & ENROLMENT_WAYPOINT);
}

/* A waypoint stands for the policy of what is behind it: without one nothing goes there. */
static __always_inline enum verdict select_waypoint(__u32 table, const struct client *client,
						    const struct dice *dice,
						    struct selection *selection)
{
	if (select_slot(table, client, dice, selection) == VERDICT_BALANCE)
		selection->by_waypoint = true;
	else if (selection->reason == REASON_NO_ENDPOINT)
		selection->reason = REASON_WAYPOINT_UNAVAILABLE;
	return selection->verdict;
}

static __always_inline enum verdict select_backend(const struct frontend_key *key,
						   const struct client *client,
						   const struct dice *dice,
						   struct selection *selection)
{
	struct frontend *frontend = find_frontend(key);

	if (!frontend)
		return unknown(key, selection);
	if (goes_by_waypoint(frontend, key, client))
		return select_waypoint(frontend->waypoint - 1, client, dice, selection);
	switch (frontend->action) {
	case FRONTEND_BALANCE:
		return select_slot(frontend->table, client, dice, selection);
	case FRONTEND_REFUSE_PORT:
		return refuse(selection, REASON_NO_SERVICE_PORT);
	case FRONTEND_WORKLOAD:
		return pass(selection, REASON_WORKLOAD_ADDRESS);
	default:
		return pass(selection, REASON_SERVICE_PASSTHROUGH);
	}
}
