/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is the network namespace of the socket at hand in the mesh? */
#pragma once

#include <stdbool.h>

#include "maps.h"

static __always_inline bool is_enrolled(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&enrolments, &netns_cookie) != NULL;
}
