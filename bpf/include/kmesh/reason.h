/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every way in which a program refuses, or lets something pass that it would rather have handled.
 * One list: the Rust enum is abi::Reason, checked against this one through BTF; docs/reasons.md
 * explains each to an operator. Numbers are never reused.
 */
#pragma once

enum reason {
	REASON_NONE = 0,
	/* Refusals. */
	REASON_NO_ENDPOINT = 1,		/* the service has no usable endpoint */
	REASON_NO_SERVICE_PORT = 2,	/* the service's address, but not one of its ports */
	REASON_BACKEND_MISSING = 3,	/* a slot names a backend that does not exist */
	/* Passes. */
	REASON_UNKNOWN_DESTINATION = 16, /* not an address of the mesh: left alone */
	REASON_SERVICE_PASSTHROUGH = 17, /* the service asks to be left alone */
	/* Failures inside a program: the traffic went on. */
	REASON_STORAGE_FULL = 32,	/* no memory for socket storage: not in telemetry, peer name is the backend */
	REASON_FLOW_FULL = 33,		/* a datagram flow could not be stored: replies carry the backend's address */
	REASON_EVENT_LOST = 34,		/* the event ring was full */
	REASON_MAX = 64,
};
