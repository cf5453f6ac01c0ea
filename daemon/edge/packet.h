/* SPDX-License-Identifier: GPL-3.0-or-later */
/* packet.h - Ethernet frames made from a client's SYN: itself once more, and the two answers to it.
 * Checksums are complete: what a pod left to its device to fill in is filled in here. Formats: RFC 791, 792, 4443, 8200, 9293. Plain functions. */
#ifndef CULVERT_EDGE_PACKET_H
#define CULVERT_EDGE_PACKET_H

#include "tunnel/syn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PACKET_MAC_BYTES = 6,
	PACKET_BYTES_MAX = 14 + 40 + 8 + SYN_BYTES_MAX, /* the largest: an ICMPv6 error that quotes all of the SYN */
};

struct packet_macs {
	uint8_t source[PACKET_MAC_BYTES], dest[PACKET_MAC_BYTES];
};

/* Does it hold together: an IP header of its family, TCP's behind it, the lengths? What comes from the kernel does; the other functions rely on it. */
bool packet_is_syn(const struct syn *s);

/* Each returns the frame's length. */
/* The SYN without data. */
size_t packet_put_syn(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s);
/* The same by the way that it was about to leave. */
size_t packet_put_syn_out(uint8_t dst[PACKET_BYTES_MAX], const struct syn *s);
/* The server's reset. */
size_t packet_put_reset(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s);
/* "Destination unreachable" of that code, of whoever says so: an address of the SYN's family. */
size_t packet_put_unreachable(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s, uint8_t code,
                              const struct addr *from);

#endif
