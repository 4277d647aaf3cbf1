// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     sk_msg on the sockets of waypoint_sockets: what a client sends to a waypoint, under the
 *           socket's lock, before it is queued.
 * Reads:    sockets, settings, header_sink.
 * Writes:   sockets (whether the header was sent), counters, and the message.
 * Verdict:  the header is put before the first bytes of a connection, all else is passed. A message
 *           of the daemon is a header itself: passed while nothing was sent, else it goes to the
 *           daemon's own socket in header_sink.
 * On internal error: without memory for the header the message is dropped and waypoint_header_failed
 *           is counted: send() fails with EACCES, and so does every later one.
 *
 * The kernel keeps the verdict on a message (psock->eval) and uses it for others, without asking: SK_DROP
 * for all that come later, SK_PASS for those that come while send() sleeps in the middle of a message. A
 * redirection counts for its message alone. So what comes too late is redirected, not dropped; and while
 * the daemon is at work on a socket (header_claim), what might sleep is redirected to where it goes anyway.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/count.h>
#include <kmesh/service.h>
#include <kmesh/waypoint.h>

/* Kernel fields that no helper gives: how much was queued and acknowledged. */
struct tcp_sock {
	__u32 snd_una;
	__u32 write_seq;
	__u64 bytes_acked;
} __attribute__((preserve_access_index));

/* The SYN is the one thing that is acknowledged before any payload. */
#define SYN_BYTES 1

/* Nothing was ever queued: also true when the first message was lost after it passed here. */
static __always_inline bool nothing_sent(struct sk_msg_md *msg)
{
	struct tcp_sock *tcp = msg->sk ? (struct tcp_sock *)bpf_skc_to_tcp_sock(msg->sk) : NULL;

	return tcp && tcp->write_seq == tcp->snd_una && tcp->bytes_acked <= SYN_BYTES;
}

static __always_inline bool is_of_header_sender(void)
{
	struct settings *node = settings_of_node();

	return node && node->header_sender &&
	       node->header_sender == (__u32)bpf_get_current_pid_tgid();
}

/* The header of an IPv4 or an IPv6 address: what differs is `struct header_v4` or `_v6`. */
#define DEFINE_HEADER(family)                                                                \
	static __always_inline bool push_##family(struct sk_msg_md *msg,                     \
						  const struct socket_meta *meta)            \
	{                                                                                    \
		struct header_##family *header;                                              \
                                                                                             \
		if (bpf_msg_push_data(msg, 0, sizeof(*header), 0))                           \
			return false;                                                        \
		header = msg->data;                                                          \
		if ((void *)(header + 1) > msg->data_end)                                    \
			return false;                                                        \
		header_fill_##family(header, &meta->original_address, meta->original_port);  \
		return true;                                                                 \
	}                                                                                    \
                                                                                             \
	static __always_inline bool equals_##family(struct sk_msg_md *msg,                   \
						    const struct socket_meta *meta)          \
	{                                                                                    \
		struct header_##family *found = msg->data;                                   \
		struct header_##family header;                                               \
                                                                                             \
		if (msg->size != sizeof(header) || (void *)(found + 1) > msg->data_end)      \
			return false;                                                        \
		header_fill_##family(&header, &meta->original_address, meta->original_port); \
		return !__builtin_memcmp(found, &header, sizeof(header));                    \
	}

DEFINE_HEADER(v4)
DEFINE_HEADER(v6)

static __always_inline bool push_header(struct sk_msg_md *msg, const struct socket_meta *meta)
{
	return address_is_v4(&meta->original_address) ? push_v4(msg, meta) : push_v6(msg, meta);
}

/* The very header, sent by the daemon on the client's socket. */
static __always_inline bool is_header(struct sk_msg_md *msg, const struct socket_meta *meta)
{
	if (!is_of_header_sender())
		return false;
	return address_is_v4(&meta->original_address) ? equals_v4(msg, meta) : equals_v6(msg, meta);
}

/* Bytes that find room in an empty send buffer, whatever its size. */
#define FIRST_BYTES_MAX 2048

static __always_inline int send_for_client(struct sk_msg_md *msg, struct socket_meta *meta)
{
	if (!nothing_sent(msg))
		return bpf_msg_redirect_map(msg, &header_sink, 0, BPF_F_INGRESS);
	meta->header = HEADER_SENT_AHEAD;
	return SK_PASS;
}

/* The rest of the message is looked at again. */
static __always_inline int send_first(struct sk_msg_md *msg, struct socket_meta *meta)
{
	if (!push_header(msg, meta)) {
		count(REASON_WAYPOINT_HEADER_FAILED);
		return SK_DROP;
	}
	meta->header = HEADER_SENT;
	if (msg->size > FIRST_BYTES_MAX && waypoint_is_claimed(meta))
		bpf_msg_apply_bytes(msg, FIRST_BYTES_MAX);
	return SK_PASS;
}

/*
 * The entry is this socket's, though there is no helper here that would tell its cookie: only sockets
 * with an entry get into waypoint_sockets, and the entry stays until TCP is at its end.
 */
SEC("sk_msg")
int kmesh_header(struct sk_msg_md *msg)
{
	__u64 address = (__u64)msg->sk;
	struct socket_meta *meta = bpf_map_lookup_elem(&sockets, &address);
	__u64 cookie;

	if (!meta || meta->header == HEADER_NONE)
		return SK_PASS;
	if (is_header(msg, meta))
		return send_for_client(msg, meta);
	if (nothing_sent(msg))
		return send_first(msg, meta);
	cookie = meta->socket_cookie;
	if (waypoint_is_claimed(meta))
		bpf_msg_redirect_hash(msg, &waypoint_sockets, &cookie, 0);
	return SK_PASS;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
