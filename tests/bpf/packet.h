/* SPDX-License-Identifier: GPL-3.0-or-later */
/* packet.h - made-up packets for the BPF programs, piece by piece. */
#ifndef CULVERT_TEST_PACKET_H
#define CULVERT_TEST_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACKET_BYTES = 512 };

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_ACK = 0x10, TCP_SYN_ACK = 0x12, TCP_RST = 0x04 };

struct packet_buf {
	uint8_t bytes[PACKET_BYTES];
	size_t len_bytes;
};

/* Appends raw bytes. */
void packet_put(struct packet_buf *p, const void *bytes, size_t len_bytes);
void packet_put_u8(struct packet_buf *p, unsigned value);
void packet_put_u16(struct packet_buf *p, unsigned value); /* network order */

/* A frame's head of type behind tags VLAN tags: none, 802.1Q, or 802.1ad with 802.1Q in it (3: one more than anybody has). */
void packet_ethernet(struct packet_buf *p, unsigned type, unsigned tags);
/* A head whose addresses are texts; option_bytes (a multiple of 4) of no-operation options. fragment: the 16 bits of flags and offset. */
void packet_ipv4(struct packet_buf *p, const char *source, const char *dest, unsigned proto, size_t option_bytes, unsigned fragment);
void packet_ipv6(struct packet_buf *p, const char *source, const char *dest, unsigned next);
/* An extension header whose length is counted in units of 8 bytes, and the authentication header, which counts in units of 4. */
void packet_extension(struct packet_buf *p, unsigned next, size_t len_bytes);
void packet_authentication(struct packet_buf *p, unsigned next, size_t len_bytes);
void packet_ipv6_fragment(struct packet_buf *p, unsigned next, unsigned offset_and_more);
void packet_tcp(struct packet_buf *p, unsigned source_port, unsigned dest_port, unsigned flags);
void packet_udp(struct packet_buf *p, unsigned source_port, unsigned dest_port);

/* A whole frame of the family of source. */
struct packet_buf packet_tcp_frame(const char *source, unsigned source_port, const char *dest, unsigned dest_port, unsigned flags);
/* The same with another sequence number: another connection's SYN. */
struct packet_buf packet_with_sequence(struct packet_buf frame, uint32_t sequence);
struct packet_buf packet_proto_frame(const char *source, const char *dest, unsigned proto); /* 8 zero bytes behind the IP head */

bool packet_is_v6(const char *address);
/* Writes the 16 bytes of an address, IPv4 mapped. */
void packet_address(const char *text, uint8_t ret[16]);

#endif
