/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a socket of an enrolled namespace, from connect() or accept until its end. The
 * entry goes with the TCP state CLOSE, or, where no state callback will come, when the socket is
 * released: one of the two happens to every socket.
 *
 * The key is the socket's address in the kernel: a node uses few of them again and again, so the
 * buckets and elements of the sockets that come and go stay in the cache. Socket storage would be
 * allocated and freed for each; a key by cookie is never seen twice. The cookie is in the value,
 * and an entry with another one is of a socket that is gone.
 */
#pragma once

#include <stdbool.h>

#include "count.h"
#include "maps.h"

/*
 * The entry of a socket; `address` is the pointer itself, and nothing that a program may follow.
 * `ctx` gives the cookie, which is asked for only when there is an entry: the kernel makes one for
 * each socket that is asked.
 */
static __always_inline struct socket_meta *socket_find(void *ctx, __u64 address)
{
	struct socket_meta *meta = bpf_map_lookup_elem(&sockets, &address);

	return meta && meta->socket_cookie == bpf_get_socket_cookie(ctx) ? meta : NULL;
}

static __always_inline bool socket_remember(void *ctx, __u64 address, struct socket_meta *meta)
{
	meta->socket_cookie = bpf_get_socket_cookie(ctx);
	if (!bpf_map_update_elem(&sockets, &address, meta, BPF_ANY))
		return true;
	count(REASON_SOCKETS_FULL);
	return false;
}

static __always_inline void socket_forget(__u64 address)
{
	bpf_map_delete_elem(&sockets, &address);
}
