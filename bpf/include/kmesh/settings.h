/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What holds for the whole node. */
#pragma once

#include "maps.h"

static __always_inline struct settings *settings_of_node(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&settings, &only);
}
