/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a dialled address to a backend: frontend, table, slot, backend. A bounded number of lookups
 * and no other work; everything that could be decided ahead is in the table. Takes plain values and
 * no context, so that the hooks and the test programs call the very same function.
 */
#pragma once

#include <stdbool.h>

#include "address.h"
#include "maps.h"
#include "reason.h"

enum verdict {
	VERDICT_PASS = 0,    /* leave the destination alone */
	VERDICT_BALANCE = 1, /* go to `address`:`port` */
	VERDICT_REFUSE = 2,
};

struct selection {
	enum verdict verdict;
	enum reason reason;
	__u32 backend;
	__be16 port;
	__u64 extent;
	struct ip_address address;
};

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

/* The table's current run of slots: one 64-bit load, the other half of user space's one store. */
static __always_inline __u64 table_extent(__u32 index)
{
	struct slot_table *table = bpf_map_lookup_elem(&tables, &index);

	return table ? *(volatile __u64 *)&table->extent : 0;
}

/* Chooses a slot of the run by `random`, every slot being equally likely. */
static __always_inline enum verdict select_slot(__u32 table, __u32 random,
						struct selection *selection)
{
	__u64 extent = table_extent(table);
	__u32 index = extent_first(extent) + (__u32)(((__u64)random * extent_count(extent)) >> 32);
	struct backend *backend;
	struct slot *slot;

	if (extent_count(extent) == 0)
		return refuse(selection, REASON_NO_ENDPOINT);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return refuse(selection, REASON_BACKEND_MISSING);
	selection->backend = slot->backend;
	backend = bpf_map_lookup_elem(&backends, &selection->backend);
	if (!backend || backend->flags == 0)
		return refuse(selection, REASON_BACKEND_MISSING);

	selection->address = backend->address;
	selection->port = slot->port;
	selection->extent = extent;
	return selection->verdict = VERDICT_BALANCE;
}

/* The frontend that answers for `key`: the port's own, else the whole address's. */
static __always_inline struct frontend *find_frontend(const struct frontend_key *key)
{
	struct frontend *frontend = bpf_map_lookup_elem(&frontends, key);
	struct frontend_key whole = {};

	if (frontend)
		return frontend;
	whole.address = key->address;
	return bpf_map_lookup_elem(&frontends, &whole);
}

static __always_inline enum verdict select_backend(const struct frontend_key *key, __u32 random,
						   struct selection *selection)
{
	struct frontend *frontend = find_frontend(key);

	if (!frontend)
		return pass(selection, REASON_UNKNOWN_DESTINATION);
	switch (frontend->action) {
	case FRONTEND_BALANCE:
		return select_slot(frontend->table, random, selection);
	case FRONTEND_REFUSE_PORT:
		return refuse(selection, REASON_NO_SERVICE_PORT);
	default:
		return pass(selection, REASON_SERVICE_PASSTHROUGH);
	}
}
