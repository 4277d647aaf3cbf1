// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     sockops: the life of a TCP connection. Nothing here runs per packet.
 * Reads:    enrolments (accepted connections), sockets.
 * Writes:   sockets, loads, waypoint_sockets (between the handshake and the first acknowledgement),
 *           header_waits, events (opened, refused, closed), counters.
 * Verdict:  none; a connection is never changed here.
 * On internal error: without room in `sockets` or in the ring the connection goes on unreported,
 *           and sockets_full or event_lost is counted; without room in `waypoint_sockets` the
 *           waypoint gets no header and ends the connection (waypoint_header_missed).
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/address.h>
#include <kmesh/enrolment.h>
#include <kmesh/event.h>
#include <kmesh/load.h>
#include <kmesh/socket.h>
#include <kmesh/waypoint.h>

#define AF_INET 2
#define NS_PER_US 1000ULL

/* Kernel fields that no helper gives: why a connect failed, and payload bytes without SYN and
 * FIN, the time of the segment that is at work (CLOCK_MONOTONIC, us), and the file of a socket. */
struct sock_common {
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct inode {
	unsigned long i_ino;
} __attribute__((preserve_access_index));

struct file {
	struct inode *f_inode;
} __attribute__((preserve_access_index));

struct socket {
	struct file *file;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
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
				   enum event_kind kind, enum reason reason)
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
	event->reason = reason;
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

/* Asks whoever sends headers for silent clients to keep an eye on the connection. */
static __always_inline void ask_for_header(struct socket_meta *meta, struct bpf_sock_ops *ctx,
					   struct tcp_sock *tcp)
{
	struct header_wait *wait = bpf_ringbuf_reserve(&header_waits, sizeof(*wait), 0);

	if (!wait)
		return;
	wait->socket = (__u64)ctx->sk;
	wait->socket_cookie = meta->socket_cookie;
	wait->inode = ((struct sock *)tcp)->sk_socket->file->f_inode->i_ino;
	wait->established_ns = tcp->tcp_mstamp * NS_PER_US;
	/* Wakes a reader that has read everything: at most once in each of its rounds. */
	bpf_ringbuf_submit(wait, 0);
}

/* What the client sends first meets kmesh_header from here on. */
static __always_inline void on_waypoint(struct bpf_sock_ops *ctx, struct socket_meta *meta)
{
	struct tcp_sock *tcp = tcp_sock_of(ctx);

	if (!tcp || waypoint_watch(ctx, meta))
		return;
	ask_for_header(meta, ctx, tcp);
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
}

/* A round trip was measured: once the header is acknowledged the socket is an ordinary one again. */
static __always_inline void on_round_trip(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta = socket_find(ctx, (__u64)ctx->sk);

	/* The program must go on looking at what is sent, see header.bpf.c. */
	if (!meta || meta->header < HEADER_SENT ||
	    (meta->header == HEADER_SENT && waypoint_is_claimed(meta)))
		return;
	waypoint_let_go(meta);
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
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
	if (meta->header)
		on_waypoint(ctx, meta);
	report(ctx, meta, EVENT_OPENED, REASON_NONE);
}

/* How a connection by a waypoint came to nothing, if it did. */
static __always_inline enum reason waypoint_failure(struct bpf_sock_ops *ctx,
						    const struct socket_meta *meta)
{
	struct tcp_sock *tcp = tcp_sock_of(ctx);

	if (!tcp || meta->header != HEADER_PENDING)
		return REASON_NONE;
	if (meta->state == SOCKET_ESTABLISHED)
		return tcp->bytes_sent ? REASON_WAYPOINT_HEADER_MISSED
				       : REASON_WAYPOINT_HEADER_UNSENT;
	return ((struct sock *)tcp)->sk_err == ECONNREFUSED ? REASON_WAYPOINT_REFUSED : REASON_NONE;
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
	report(ctx, &meta, EVENT_OPENED, REASON_NONE);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta;
	enum reason reason;

	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	meta = socket_find(ctx, (__u64)ctx->sk);
	if (!meta)
		return;
	if (meta->backend && meta->state != SOCKET_DIALLED)
		load_remove(meta->backend, meta->incarnation);
	reason = waypoint_failure(ctx, meta);
	if (reason)
		count(reason);
	report(ctx, meta, meta->state == SOCKET_ESTABLISHED ? EVENT_CLOSED : EVENT_REFUSED, reason);
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
	case BPF_SOCK_OPS_RTT_CB:
		on_round_trip(ctx);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
