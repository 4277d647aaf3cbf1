/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Doing to a struct bpf_sock_addr what was decided: the end of every connect and sendmsg program. */
#pragma once

#include <linux/errno.h>

#include "service.h"
#include "sock_addr.h"

static __always_inline int refuse_call(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return SOCK_ADDR_REFUSE;
}

static __always_inline int carry_out_v4(struct bpf_sock_addr *ctx, enum verdict verdict,
					const struct selection *selection)
{
	if (verdict == VERDICT_REFUSE)
		return refuse_call();
	if (verdict == VERDICT_BALANCE)
		sock_addr_set_v4(ctx, &selection->address, selection->port);
	return SOCK_ADDR_PROCEED;
}

static __always_inline int carry_out_v6(struct bpf_sock_addr *ctx, enum verdict verdict,
					const struct selection *selection)
{
	if (verdict == VERDICT_REFUSE)
		return refuse_call();
	if (verdict == VERDICT_BALANCE)
		sock_addr_set_v6(ctx, &selection->address, selection->port);
	return SOCK_ADDR_PROCEED;
}
