// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hook:     cgroup/sock_release: the last descriptor of a socket is closed.
 * Reads:    sockets.
 * Writes:   sockets: forgets datagram sockets, and TCP sockets that never sent a SYN.
 * Verdict:  none; the kernel ignores it.
 * On internal error: nothing can fail here.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include <kmesh/socket.h>

SEC("cgroup/sock_release")
int kmesh_sock_release(struct bpf_sock *sk)
{
	struct socket_meta *meta;

	/* A watched TCP connection outlives its descriptor; its own end comes later, in sockops. */
	if (sk->protocol == IPPROTO_TCP && sk->state != BPF_TCP_CLOSE)
		return 1;
	meta = socket_find(sk, (__u64)sk);
	if (meta && meta->state == SOCKET_DIALLED)
		socket_forget((__u64)sk);
	return 1;
}

char LICENSE[] SEC("license") __weak = "Dual BSD/GPL";
