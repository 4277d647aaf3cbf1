// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     sockops: the life of a TCP connection. Nothing here runs per packet.
 * Reads:    enrolments (accepted connections), sockets.
 * Writes:   sockets, loads, events (opened, refused, closed), counters.
 * Verdict:  none; a connection is never changed here.
 * On internal error: without socket storage or ring space the connection goes on unreported, and
 *           storage_full or event_lost is counted.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/address.h>
#include <kmesh/enrolment.h>
#include <kmesh/event.h>
#include <kmesh/load.h>

#define AF_INET 2

/* Kernel fields that no helper gives: why a connect failed, and payload bytes without SYN and FIN. */
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
} __attribute__((preserve_access_index));

enum sock_flags {
	SOCK_DONE = 1, /* the peer's FIN was received */
};

static __always_inline struct socket_meta *meta_of(struct bpf_sock_ops *ctx, __u64 flags)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&sockets, sk, NULL, flags) : NULL;
}

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

static __always_inline __u16 connect_error(struct bpf_sock_ops *ctx)
{
	struct sock *sk = (struct sock *)tcp_sock_of(ctx);

	return sk ? (__u16)sk->sk_err : 0;
}

/* The kernel's bytes_received counts the peer's FIN as one; payload does not. */
static __always_inline void fill_bytes(struct connection_event *event, struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tcp = tcp_sock_of(ctx);
	struct sock *sk = (struct sock *)tcp;
	unsigned long fin_bit = bpf_core_enum_value(enum sock_flags, SOCK_DONE);

	if (!tcp)
		return;
	event->bytes_sent = tcp->bytes_sent - tcp->bytes_retrans;
	event->bytes_received = tcp->bytes_received - ((sk->__sk_common.skc_flags >> fin_bit) & 1);
}

static __always_inline void report(struct bpf_sock_ops *ctx, const struct socket_meta *meta,
				   enum event_kind kind, __u16 error)
{
	struct connection_event *event = event_reserve();

	if (!event)
		return;
	event_from_meta(event, meta);
	fill_addresses(event, ctx);
	event->time_ns = bpf_ktime_get_ns();
	event->socket_cookie = bpf_get_socket_cookie(ctx);
	fill_bytes(event, ctx);
	event->kind = kind;
	event->error = error;
	event_submit(event);
}

/* From here on the end of the connection is seen for certain, so its load is counted from here. */
static __always_inline void on_connect(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta = meta_of(ctx, 0);
	struct backend *backend;
	__u32 index;

	if (!meta)
		return;
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	index = meta->backend;
	backend = bpf_map_lookup_elem(&backends, &index);
	if (index == 0 || !backend)
		return;
	meta->incarnation = backend->incarnation;
	load_add(index, meta->incarnation);
}

static __always_inline void on_dialled(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta = meta_of(ctx, 0);

	if (!meta)
		return;
	meta->established = 1;
	report(ctx, meta, EVENT_OPENED, 0);
}

static __always_inline void on_accepted(struct bpf_sock_ops *ctx)
{
	__u64 netns_cookie = bpf_get_netns_cookie(ctx);
	struct socket_meta *meta;

	if (!is_enrolled(netns_cookie))
		return;
	meta = meta_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	if (!meta) {
		count(REASON_STORAGE_FULL);
		return;
	}
	meta->direction = DIRECTION_INBOUND;
	meta->established = 1;
	meta->protocol = IPPROTO_TCP;
	meta->netns_cookie = netns_cookie;
	meta->started_ns = bpf_ktime_get_ns();
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	report(ctx, meta, EVENT_OPENED, 0);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	struct socket_meta *meta;

	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	meta = meta_of(ctx, 0);
	if (!meta)
		return;
	if (meta->incarnation)
		load_remove(meta->backend, meta->incarnation);
	meta->incarnation = 0;
	if (meta->established)
		report(ctx, meta, EVENT_CLOSED, 0);
	else
		report(ctx, meta, EVENT_REFUSED, connect_error(ctx));
	meta->established = 0;
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
