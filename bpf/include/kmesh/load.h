/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Live connections of each backend. An index may be given to another address while connections to
 * the old one still live: a count is for one incarnation and starts at zero with the next.
 */
#pragma once

#include "maps.h"

static __always_inline __u32 load_of(__u32 backend, __u32 incarnation)
{
	struct backend_load *load = bpf_map_lookup_elem(&loads, &backend);

	return load && load->incarnation == incarnation ? load->connections : 0;
}

static __always_inline void load_add(__u32 backend, __u32 incarnation)
{
	struct backend_load *load = bpf_map_lookup_elem(&loads, &backend);

	if (!load)
		return;
	if (load->incarnation != incarnation) {
		load->connections = 0;
		load->incarnation = incarnation;
	}
	__sync_fetch_and_add(&load->connections, 1);
}

static __always_inline void load_remove(__u32 backend, __u32 incarnation)
{
	struct backend_load *load = bpf_map_lookup_elem(&loads, &backend);

	if (load && load->incarnation == incarnation && load->connections > 0)
		__sync_fetch_and_add(&load->connections, -1);
}
