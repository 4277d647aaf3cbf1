// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     sockops: the life of a TCP connection. Nothing here runs per packet.
 * Reads:    enrolments (accepted connections), sockets.
 * Writes:   sockets, loads, events (opened, refused, closed), counters.
 * Verdict:  none; a connection is never changed here.
 * On internal error: without room in `sockets` or in the ring the connection goes on unreported,
 *           and sockets_full or event_lost is counted.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/address.h>
#include <kmesh/enrolment.h>
#include <kmesh/event.h>
#include <kmesh/load.h>
#include <kmesh/socket.h>

#define AF_INET 2
#define NS_PER_US 1000ULL

/* Kernel fields that no helper gives: why a connect failed, and payload bytes without SYN and
 * FIN, and the time of the segment that is at work (CLOCK_MONOTONIC, us). */
struct sock_common {
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	int sk_err;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_received;
	__u64 tcp_mstamp;
} __attribute__((preserve_access_index));

enum sock_flags {
	SOCK_DONE = 1, /* the peer's FIN was received */
};

static __always_inline void fill_addresses(struct connection_event *event, struct bpf_sock_ops *ctx)
{
	if (ctx->family == AF_INET) {
		event->local_address = address_from_v4(ctx->local_ip4);
		event->remote_address = address_from_v4(ctx->remote_ip4);
	} else {
		event->local_address.word[0] = ctx->local_ip6[0];
		event->local_address.word[1] = ctx->local_ip6[1];
		event->local_address.word[2] = ctx->local_ip6[2];
		event->local_address.word[3] = ctx->local_ip6[3];
		event->remote_address.word[0] = ctx->remote_ip6[0];
		event->remote_address.word[1] = ctx->remote_ip6[1];
		event->remote_address.word[2] = ctx->remote_ip6[2];
		event->remote_address.word[3] = ctx->remote_ip6[3];
	}
	event->local_port = bpf_htons((__u16)ctx->local_port);
	event->remote_port = bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

static __always_inline struct tcp_sock *tcp_sock_of(struct bpf_sock_ops *ctx)
{
	return ctx->sk ? (struct tcp_sock *)bpf_skc_to_tcp_sock(ctx->sk) : NULL;
}

/* The kernel's bytes_received counts the peer's FIN as one; payload does not. */
static __always_inline void fill_from_tcp(struct connection_event *event, struct tcp_sock *tcp)
{
	struct sock *sk = (struct sock *)tcp;
	unsigned long fin_bit = bpf_core_enum_value(enum sock_flags, SOCK_DONE);

	event->time_ns = tcp->tcp_mstamp * NS_PER_US;
	event->bytes_sent = tcp->bytes_sent - tcp->bytes_retrans;
	event->bytes_received = tcp->bytes_received - ((sk->__sk_common.skc_flags >> fin_bit) & 1);
	if (event->kind == EVENT_REFUSED)
		event->error = (__u16)sk->sk_err;
}

static __always_inline void report(struct bpf_sock_ops *ctx, const struct socket_meta *meta,
				   enum event_kind kind)
{
	struct tcp_sock *tcp = tcp_sock_of(ctx);
	struct connection_event *event;

	if (!tcp)
		return;
	event = event_reserve();
	if (!event)
		return;
	event_from_meta(event, meta);
	fill_addresses(event, ctx);
	event->kind = kind;
	fill_from_tcp(event, tcp);
	event_submit(event);
}

/* From here on the end of the connection is seen for certain, so its load is counted from here. */
static __always_inline void on_connect(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta = socket_find(ctx, (__u64)ctx->sk);

	if (!meta)
		return;
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	meta->state = SOCKET_CONNECTING;
	if (meta->backend)
		load_add(meta->backend, meta->incarnation);
}

static __always_inline void on_dialled(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta;

	/* Of a socket that on_connect() knew. */
	if (!(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG))
		return;
	meta = socket_find(ctx, (__u64)ctx->sk);
	if (!meta)
		return;
	meta->state = SOCKET_ESTABLISHED;
	report(ctx, meta, EVENT_OPENED);
}

static __always_inline void on_accepted(struct bpf_sock_ops *ctx)
{
	struct socket_meta meta = {
		.direction = DIRECTION_INBOUND,
		.state = SOCKET_ESTABLISHED,
		.protocol = IPPROTO_TCP,
		.netns_cookie = bpf_get_netns_cookie(ctx),
	};
	struct tcp_sock *tcp = tcp_sock_of(ctx);

	if (!is_enrolled(meta.netns_cookie) || !tcp)
		return;
	meta.started_ns = tcp->tcp_mstamp * NS_PER_US;
	if (!socket_remember(ctx, (__u64)ctx->sk, &meta))
		return;
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	report(ctx, &meta, EVENT_OPENED);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta;

	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	meta = socket_find(ctx, (__u64)ctx->sk);
	if (!meta)
		return;
	if (meta->backend && meta->state != SOCKET_DIALLED)
		load_remove(meta->backend, meta->incarnation);
	report(ctx, meta, meta->state == SOCKET_ESTABLISHED ? EVENT_CLOSED : EVENT_REFUSED);
	socket_forget((__u64)ctx->sk);
}

SEC("sockops")
int kmesh_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_dialled(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accepted(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
