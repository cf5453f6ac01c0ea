/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reason.h - why a stream or a tunnel ended: one table for the log, the metrics' labels, the wire and the tests.
 * The numbers are on the wire (RESET, GOAWAY; docs/protocol.md) and are never reused. Plain data. */
#ifndef CULVERT_TUNNEL_REASON_H
#define CULVERT_TUNNEL_REASON_H

#include <stdint.h>

enum close_reason {
	REASON_FINISHED = 0,         /* both directions ended in order */
	REASON_POD_RESET = 1,        /* a pod reset its connection */
	REASON_REFUSED = 2,          /* connect: ECONNREFUSED */
	REASON_HOST_UNREACHABLE = 3, /* connect or running: EHOSTUNREACH */
	REASON_NET_UNREACHABLE = 4,  /* ENETUNREACH */
	REASON_PROHIBITED = 5,       /* EACCES, EPERM: a policy said no */
	REASON_TIMED_OUT = 6,        /* ETIMEDOUT */
	REASON_UNKNOWN_ADDRESS = 7,  /* source or destination still unknown after the wait */
	REASON_FOREIGN_ADDRESS = 8,  /* the source belongs to another node: a security event */
	REASON_NOT_HERE = 9,         /* the destination is not a pod of the accepting node */
	REASON_OVER_BUDGET = 10,     /* memory budget or stream limit */
	REASON_PEER_RESTARTED = 11,  /* the peer shows another incarnation */
	REASON_PEER_TIMEOUT = 12,    /* silent for peer_timeout */
	REASON_TUNNEL_LOST = 13,     /* the TLS connection ended without GOAWAY */
	REASON_PEER_REMOVED = 14,    /* the node left the cluster, or its certificate no longer holds */
	REASON_DRAINING = 15,        /* the daemon ends */
	REASON_PROTOCOL = 16,        /* the peer broke the protocol */
	REASON_NO_RESOURCES = 17,    /* no descriptors, ports or memory for the socket */
	REASON_NO_TUNNEL = 18,       /* no tunnel came up in time */
	REASON_CERTIFICATE = 19,     /* handshake or name refused */
	REASON_IDLE = 20,            /* a tunnel without streams for idle_timeout */
	REASON_IDS_USED_UP = 21,     /* a tunnel's stream ids are at their end */
	REASON_MOVED = 22,           /* an address moved to another node under a running stream */
	REASON_CLIENT_GONE = 23,     /* the client gave up before it was connected */
	REASON_COUNT
};

/* "finished", "pod_reset", ...; "unknown" for a number that this version does not know. */
const char *reason_text(uint32_t reason);
/* The reason for a socket's errno (positive). */
enum close_reason reason_from_errno(int error);

#endif
