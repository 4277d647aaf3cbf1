/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every way in which a program refuses, or lets something pass that it would rather have handled.
 * One list: the Rust enum is abi::Reason, checked against this one through BTF; docs/reasons.md
 * explains each to an operator. Numbers are never reused.
 */
#pragma once

enum reason {
	/* Refusals. */
	REASON_NONE = 0,
	/* the service has no usable endpoint */
	REASON_NO_ENDPOINT = 1,
	/* the service's address, but not one of its ports */
	REASON_NO_SERVICE_PORT = 2,
	/* a slot names a backend that does not exist */
	REASON_BACKEND_MISSING = 3,
	/* Passes. */
	/* not an address of the mesh: left alone */
	REASON_UNKNOWN_DESTINATION = 16,
	/* the service asks to be left alone */
	REASON_SERVICE_PASSTHROUGH = 17,
	/* Failures inside a program: the traffic went on. */
	/* no memory for socket storage: not in telemetry, peer name is the backend */
	REASON_STORAGE_FULL = 32,
	/* a datagram flow could not be stored: replies carry the backend's address */
	REASON_FLOW_FULL = 33,
	/* the event ring was full */
	REASON_EVENT_LOST = 34,
	REASON_MAX = 64,
};
