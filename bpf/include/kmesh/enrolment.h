/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who dials: is the network namespace of the socket at hand in the mesh, and what is it known by? */
#pragma once

#include <stdbool.h>

#include "maps.h"

struct client {
	__u64 netns_cookie;
	__u32 hash;
	__u32 flags; /* enum enrolment_flag */
};

/* Fills `client`; false when the namespace is not in the mesh. */
static __always_inline bool find_client(__u64 netns_cookie, struct client *client)
{
	struct enrolment *enrolment = bpf_map_lookup_elem(&enrolments, &netns_cookie);

	if (!enrolment)
		return false;
	client->netns_cookie = netns_cookie;
	client->hash = enrolment->client_hash;
	client->flags = enrolment->flags;
	return true;
}

static __always_inline bool is_enrolled(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&enrolments, &netns_cookie) != NULL;
}
