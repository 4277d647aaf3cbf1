// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     iter/tcp, opened by user space inside a network namespace after a change of policies: once
 *           for each of its TCP sockets, listeners first, under the socket's lock.
 * Reads:    sockets (which way a connection went), settings, and what kmesh_authz judges by.
 * Writes:   authz_listeners, events (ended), counters, and one byte to the reader for each connection
 *           that was ended.
 * Verdict:  a connection that came in and that the policies of now refuse is aborted: both ends see a
 *           reset. All others are left alone, also those of which it is not known that they came in.
 * On internal error: what cannot be judged is refused, as by kmesh_authz. Without room in the ring the
 *           connection is ended and event_lost is counted.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/authz.h>
#include <kmesh/authz_report.h>
#include <kmesh/socket.h>

#define AF_INET 2
#define LOOPBACK_IFINDEX 1 /* in every network namespace */

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
} __attribute__((preserve_access_index));

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
} __attribute__((preserve_access_index));

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} __attribute__((preserve_access_index));

struct sock {
	int sk_rx_dst_ifindex;
} __attribute__((preserve_access_index));

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} __attribute__((preserve_access_index));

/* Linux 6.5. Where it is missing user space does not load this program. */
extern int bpf_sock_destroy(struct sock_common *sk) __ksym __weak;

static __always_inline void note_listener(const struct sock_common *sk, __u64 session)
{
	__u32 port = sk->skc_num;

	bpf_map_update_elem(&authz_listeners, &port, &session, BPF_ANY);
}

static __always_inline bool has_listener(const struct sock_common *sk, __u64 session)
{
	__u32 port = sk->skc_num;
	__u64 *seen = bpf_map_lookup_elem(&authz_listeners, &port);

	return seen && *seen == session;
}

/* A connection that both ends know, or that is about to become one. */
static __always_inline bool is_connection(const struct sock_common *sk)
{
	switch (sk->skc_state) {
	case BPF_TCP_LISTEN:
	case BPF_TCP_CLOSE:
	case BPF_TCP_TIME_WAIT:
	case BPF_TCP_SYN_SENT:
		return false;
	default:
		return true;
	}
}

/*
 * Connections from before the enrolment are not in `sockets`: those came in whose port has a listener,
 * which the walk met earlier.
 */
static __always_inline bool came_in(struct sock_common *sk, __u64 session)
{
	struct socket_meta *meta;

	if (sk->skc_state == BPF_TCP_NEW_SYN_RECV)
		return true;
	meta = socket_find(sk, (__u64)sk);
	return meta ? meta->direction == DIRECTION_INBOUND : has_listener(sk, session);
}

/* What the workload says to itself was not judged when it came in. */
static __always_inline bool is_own(struct sock_common *sk,
				   const struct authz_connection *connection)
{
	struct sock *full = (struct sock *)bpf_skc_to_tcp_sock(sk);

	return address_equal(&connection->source, &connection->destination) ||
	       (full && full->sk_rx_dst_ifindex == LOOPBACK_IFINDEX);
}

static __always_inline struct ip_address address_from_v6(const struct in6_addr *v6)
{
	return (struct ip_address){ { v6->in6_u.u6_addr32[0], v6->in6_u.u6_addr32[1],
				      v6->in6_u.u6_addr32[2], v6->in6_u.u6_addr32[3] } };
}

static __always_inline struct authz_connection connection_of(const struct sock_common *sk)
{
	struct authz_connection connection = { .port = sk->skc_num };

	if (sk->skc_family == AF_INET) {
		connection.source = address_from_v4(sk->skc_daddr);
		connection.destination = address_from_v4(sk->skc_rcv_saddr);
	} else {
		connection.source = address_from_v6(&sk->skc_v6_daddr);
		connection.destination = address_from_v6(&sk->skc_v6_rcv_saddr);
	}
	return connection;
}

/* Ends the connection if it is refused now; true when it did. */
static __always_inline bool end_if_refused(struct sock_common *sk)
{
	struct authz_connection connection = connection_of(sk);
	struct authz_verdict verdict = {};
	struct authz_case at_hand = {};

	if (is_own(sk, &connection))
		return false;
	authz_judge(&connection, &at_hand, &verdict);
	if (!verdict.refused || bpf_sock_destroy(sk))
		return false;
	authz_report_end(&connection, sk->skc_dport, &verdict);
	return true;
}

SEC("iter/tcp")
int kmesh_authz_close(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	__u64 session = ctx->meta->session_id;
	__u8 ended = 1;

	if (!sk || !authz_is_active())
		return 0;
	if (sk->skc_state == BPF_TCP_LISTEN)
		note_listener(sk, session);
	else if (is_connection(sk) && came_in(sk, session) && end_if_refused(sk))
		bpf_seq_write(ctx->meta->seq, &ended, sizeof(ended));
	return 0;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
