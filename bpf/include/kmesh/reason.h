/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every way in which a program refuses, or lets something pass that it would rather have handled.
 * One list: the Rust enum is abi::Reason, checked against this one through BTF; docs/reasons.md
 * explains each to an operator. Numbers are never reused.
 */
#pragma once

enum reason {
	REASON_NONE = 0,

	/* Refusals: the service has no usable endpoint. */
	REASON_NO_ENDPOINT = 1,
	/* The service's address, but not one of its ports. */
	REASON_NO_SERVICE_PORT = 2,
	/* A slot names a backend that does not exist. */
	REASON_BACKEND_MISSING = 3,
	/* Nothing in the registry has this address, and the outbound policy is REGISTRY_ONLY. */
	REASON_NOT_IN_REGISTRY = 4,
	/* The waypoint is not known, or has no usable endpoint of the family. */
	REASON_WAYPOINT_UNAVAILABLE = 5,
	/* By a waypoint, but no room in `sockets`: the header could not be sent. */
	REASON_WAYPOINT_NO_ROOM = 6,
	/* The waypoint's endpoint refused the connection: it does not listen on the waypoint port. */
	REASON_WAYPOINT_REFUSED = 7,
	/* The kernel had no memory for the header: send() fails with EACCES. */
	REASON_WAYPOINT_HEADER_FAILED = 8,
	/* A DENY policy matches the connection. */
	REASON_AUTHZ_DENIED = 9,
	/* ALLOW policies hold for the destination, and none matches the connection. */
	REASON_AUTHZ_NOT_ALLOWED = 10,
	/* The policies of the destination, or the identity of the source, cannot be judged by. */
	REASON_AUTHZ_CLOSED = 11,
	/* An established connection that the policies of now refuse was ended. */
	REASON_AUTHZ_ENDED = 12,

	/* Passes: not an address of the mesh, left alone. */
	REASON_UNKNOWN_DESTINATION = 16,
	/* The service asks to be left alone. */
	REASON_SERVICE_PASSTHROUGH = 17,
	/* The own address of a workload: nothing to choose. */
	REASON_WORKLOAD_ADDRESS = 18,
	/* A query of a socket that is bound to a device, where the DNS proxy cannot be reached. */
	REASON_DNS_SOCKET_BOUND = 19,
	/* An address of this node dialled: the probes of kubelet, which no policy judges. */
	REASON_AUTHZ_NODE = 20,
	/* A waypoint that the destination trusts dialled: it has judged already. */
	REASON_AUTHZ_TRUSTED_WAYPOINT = 21,

	/* The traffic went on, but: no room in `sockets`, so no events and no peer name. */
	REASON_SOCKETS_FULL = 32,
	/* A datagram flow could not be stored: replies carry the backend's address. */
	REASON_FLOW_FULL = 33,
	/* The event ring was full. */
	REASON_EVENT_LOST = 34,
	/* A client's number could not be stored: its next connection may go elsewhere. */
	REASON_AFFINITY_FULL = 35,
	/* The DNS proxy did not listen or showed no sign of life: the resolver itself was asked. */
	REASON_DNS_PROXY_SILENT = 36,
	/* A connection by a waypoint ended and nobody had sent anything, the header neither. */
	REASON_WAYPOINT_HEADER_UNSENT = 37,
	/* Bytes went to a waypoint without the header before them. */
	REASON_WAYPOINT_HEADER_MISSED = 38,

	REASON_MAX = 64,
};
