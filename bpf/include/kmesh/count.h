/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting a reason. The array is per CPU, so an ordinary addition is enough. */
#pragma once

#include "maps.h"
#include "reason.h"

static __always_inline void count(enum reason reason)
{
	__u32 index = reason;
	__u64 *counter = bpf_map_lookup_elem(&counters, &index);

	if (counter)
		(*counter)++;
}
