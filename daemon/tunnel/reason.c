/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/reason.h"

#include <assert.h>
#include <errno.h>

static const char *const reason_names[] = {
	[REASON_FINISHED] = "finished",
	[REASON_POD_RESET] = "pod_reset",
	[REASON_REFUSED] = "refused",
	[REASON_HOST_UNREACHABLE] = "host_unreachable",
	[REASON_NET_UNREACHABLE] = "net_unreachable",
	[REASON_PROHIBITED] = "prohibited",
	[REASON_TIMED_OUT] = "timed_out",
	[REASON_UNKNOWN_ADDRESS] = "unknown_address",
	[REASON_FOREIGN_ADDRESS] = "foreign_address",
	[REASON_NOT_HERE] = "not_here",
	[REASON_OVER_BUDGET] = "over_budget",
	[REASON_PEER_RESTARTED] = "peer_restarted",
	[REASON_PEER_TIMEOUT] = "peer_timeout",
	[REASON_TUNNEL_LOST] = "tunnel_lost",
	[REASON_PEER_REMOVED] = "peer_removed",
	[REASON_DRAINING] = "draining",
	[REASON_PROTOCOL] = "protocol",
	[REASON_NO_RESOURCES] = "no_resources",
	[REASON_NO_TUNNEL] = "no_tunnel",
	[REASON_CERTIFICATE] = "certificate",
	[REASON_IDLE] = "idle",
	[REASON_IDS_USED_UP] = "ids_used_up",
	[REASON_MOVED] = "moved",
	[REASON_CLIENT_GONE] = "client_gone",
};
static_assert(sizeof(reason_names) / sizeof(reason_names[0]) == REASON_COUNT, "a reason has no name");

const char *reason_text(uint32_t reason)
{
	return reason < REASON_COUNT ? reason_names[reason] : "unknown";
}

enum close_reason reason_from_errno(int error)
{
	switch (error) {
	case 0:
		return REASON_FINISHED;
	case ECONNREFUSED:
		return REASON_REFUSED;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return REASON_HOST_UNREACHABLE;
	case ENETUNREACH:
	case ENETDOWN:
		return REASON_NET_UNREACHABLE;
	case EACCES:
	case EPERM:
		return REASON_PROHIBITED;
	case ETIMEDOUT:
		return REASON_TIMED_OUT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EADDRINUSE: /* the client's port is still used towards this server */
	case EADDRNOTAVAIL:
	case EAGAIN: /* connect: no free local port, or routing cache full */
		return REASON_NO_RESOURCES;
	default:
		/* ECONNRESET, EPIPE, and what an ICMP error makes of a running connection: for the other side all of it is a reset. */
		return REASON_POD_RESET;
	}
}
