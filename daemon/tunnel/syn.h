/* SPDX-License-Identifier: GPL-3.0-or-later */
/* syn.h - a client's SYN that was taken out of the kernel, and what can be answered instead of the far side. Plain data. */
#ifndef CULVERT_TUNNEL_SYN_H
#define CULVERT_TUNNEL_SYN_H

#include "base/addr.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	SYN_BYTES_MAX = 192,
	SYN_LINK_BYTES_MAX = 26, /* Ethernet and three tags */
};

/* How it was about to leave the node. */
struct syn_way {
	uint32_t device;
	uint8_t link_bytes; /* 0: the device has no link layer */
	uint8_t link[SYN_LINK_BYTES_MAX];
};

struct syn {
	struct endpoint client, server;
	uint32_t seq;    /* its sequence number, by which it is known when it is sent again */
	uint32_t device; /* by which it came: a pod's, or a bridge of several; 0: the node's own */
	bool may_pass;   /* where no tunnel takes it in time it goes on in the clear */
	struct syn_way way;
	uint16_t len_bytes;
	uint16_t tcp_offset;          /* of TCP's header in bytes[] */
	uint8_t bytes[SYN_BYTES_MAX]; /* from the IP header to the end of TCP's options, as it would have left the node */
};

/* What the client's kernel takes for the far side's own word; or the SYN itself goes there in the clear. */
enum syn_answer_kind { SYN_SILENCE, SYN_RESET, SYN_UNREACHABLE /* ICMP: "destination unreachable" */, SYN_PASS };

struct syn_answer {
	enum syn_answer_kind kind;
	uint8_t code;     /* SYN_UNREACHABLE: RFC 792 or RFC 4443, by the SYN's family */
	struct addr from; /* SYN_UNREACHABLE: who says so */
};

#endif
