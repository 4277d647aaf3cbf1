/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events to user space. Nobody is woken for a single event: the reader drains the ring at its own
 * pace and is woken only when a quarter of it is full. A full ring loses the event and counts it.
 */
#pragma once

#include "count.h"
#include "maps.h"

#define EVENT_WAKE_UP_SHARE 4

static __always_inline struct connection_event *event_reserve(void)
{
	struct connection_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(REASON_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	return event;
}

static __always_inline void event_submit(struct connection_event *event)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);
	bool wake = waiting >= size / EVENT_WAKE_UP_SHARE;

	bpf_ringbuf_submit(event, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void event_from_meta(struct connection_event *event,
					    const struct socket_meta *meta)
{
	event->started_ns = meta->started_ns;
	event->netns_cookie = meta->netns_cookie;
	event->socket_cookie = meta->socket_cookie;
	event->original_address = meta->original_address;
	event->original_port = meta->original_port;
	event->direction = meta->direction;
	event->protocol = meta->protocol;
	event->by_waypoint = meta->header != HEADER_NONE;
}
