/* SPDX-License-Identifier: GPL-3.0-or-later */
/* syn.h - a client's SYN that was taken out of the kernel, and what can be answered instead of the far side. Plain data. */
#ifndef CULVERT_TUNNEL_SYN_H
#define CULVERT_TUNNEL_SYN_H

#include "base/addr.h"

#include <stdint.h>

enum { SYN_BYTES_MAX = 192 };

struct syn {
	struct endpoint client, server;
	uint32_t seq; /* its sequence number, by which it is known when it is sent again */
	uint16_t len_bytes;
	uint16_t tcp_offset;          /* of TCP's header in bytes[] */
	uint8_t bytes[SYN_BYTES_MAX]; /* from the IP header to the end of TCP's options, as it would have left the node */
};

/* What the client's kernel takes for the far side's own word; anything else is silence. */
enum syn_answer {
	SYN_SILENCE,
	SYN_REFUSED,          /* a reset: ECONNREFUSED */
	SYN_HOST_UNREACHABLE, /* ICMP: EHOSTUNREACH */
	SYN_NET_UNREACHABLE,  /* ICMP: ENETUNREACH */
	SYN_PROHIBITED,       /* ICMP: EACCES with IPv6, EHOSTUNREACH with IPv4, as Linux has it */
};

#endif
