/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Datagrams of sockets that are not connected: a flow is one socket and one dialled address. It
 * stays with its backend as long as the service's table does, and the way back is stored beside it.
 */
#pragma once

#include "count.h"
#include "service.h"

static __always_inline void flow_key(struct udp_flow_key *key, __u64 socket_cookie,
				     const struct ip_address *address, __be16 port,
				     enum flow_direction direction)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->socket_cookie = socket_cookie;
	key->address = *address;
	key->port = port;
	key->direction = direction;
}

static __always_inline long flow_store(const struct udp_flow_key *key,
				       const struct ip_address *address, __be16 port,
				       const struct selection *selection)
{
	struct udp_flow flow = {
		.address = *address,
		.port = port,
		.slot = selection->slot,
		.extent = selection->extent,
	};

	return bpf_map_update_elem(&udp_flows, key, &flow, BPF_ANY);
}

/* Both ways of a flow. A failure costs the reply its dialled address, so it is counted. */
static __always_inline void flow_remember(__u64 socket_cookie, const struct frontend_key *dialled,
					  const struct selection *selection)
{
	struct udp_flow_key send, receive;

	flow_key(&send, socket_cookie, &dialled->address, dialled->port, FLOW_SEND);
	flow_key(&receive, socket_cookie, &selection->address, selection->port, FLOW_RECEIVE);
	if (flow_store(&send, &selection->address, selection->port, selection) ||
	    flow_store(&receive, &dialled->address, dialled->port, selection))
		count(REASON_FLOW_FULL);
}

/*
 * The flow's backend, if the run of slots that it was chosen from is still in force. The same run
 * may have been given to the table a second time, so the slot must still lead to the same place.
 */
static __always_inline bool flow_continue(__u64 socket_cookie, const struct frontend_key *dialled,
					  struct selection *selection)
{
	struct frontend *frontend = find_frontend(dialled);
	struct udp_flow_key key;
	struct udp_flow *flow;

	if (!frontend || frontend->action != FRONTEND_BALANCE)
		return false;
	flow_key(&key, socket_cookie, &dialled->address, dialled->port, FLOW_SEND);
	flow = bpf_map_lookup_elem(&udp_flows, &key);
	if (!flow || flow->extent != table_extent(frontend->table))
		return false;
	return take_slot(flow->slot, selection) == VERDICT_BALANCE &&
	       selection->port == flow->port && address_equal(&selection->address, &flow->address);
}
