/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "packet.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

void packet_put(struct packet_buf *p, const void *bytes, size_t len_bytes)
{
	if (p->len_bytes + len_bytes > sizeof(p->bytes))
		abort();
	memcpy(p->bytes + p->len_bytes, bytes, len_bytes);
	p->len_bytes += len_bytes;
}

void packet_put_u8(struct packet_buf *p, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	packet_put(p, &byte, 1);
}

void packet_put_u16(struct packet_buf *p, unsigned value)
{
	packet_put_u8(p, value >> 8);
	packet_put_u8(p, value);
}

bool packet_is_v6(const char *address)
{
	return strchr(address, ':') != NULL;
}

void packet_address(const char *text, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (packet_is_v6(text)) {
		if (inet_pton(AF_INET6, text, ret) != 1)
			abort();
		return;
	}
	ret[10] = ret[11] = 0xff;
	if (inet_pton(AF_INET, text, ret + 12) != 1)
		abort();
}

void packet_ethernet(struct packet_buf *p, unsigned type, unsigned tags)
{
	static const uint8_t macs[12] = { 0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2 };

	packet_put(p, macs, sizeof(macs));
	for (unsigned i = tags; i > 0; i--) {
		packet_put_u16(p, i > 1 ? 0x88a8 : 0x8100);
		packet_put_u16(p, 100 + i);
	}
	packet_put_u16(p, type);
}

void packet_ipv4(struct packet_buf *p, const char *source, const char *dest, unsigned proto, size_t option_bytes, unsigned fragment)
{
	uint8_t address[16];

	packet_put_u8(p, 0x40 | (unsigned)(5 + option_bytes / 4));
	packet_put_u8(p, 0);
	packet_put_u16(p, 0);
	packet_put_u16(p, 1);
	packet_put_u16(p, fragment);
	packet_put_u8(p, 64);
	packet_put_u8(p, proto);
	packet_put_u16(p, 0);
	packet_address(source, address);
	packet_put(p, address + 12, 4);
	packet_address(dest, address);
	packet_put(p, address + 12, 4);
	for (size_t i = 0; i < option_bytes; i++)
		packet_put_u8(p, 1);
}

void packet_ipv6(struct packet_buf *p, const char *source, const char *dest, unsigned next)
{
	uint8_t address[16];

	packet_put_u16(p, 0x6000);
	packet_put_u16(p, 0);
	packet_put_u16(p, 0);
	packet_put_u8(p, next);
	packet_put_u8(p, 64);
	packet_address(source, address);
	packet_put(p, address, 16);
	packet_address(dest, address);
	packet_put(p, address, 16);
}

static void put_option_header(struct packet_buf *p, unsigned next, unsigned units, size_t len_bytes)
{
	packet_put_u8(p, next);
	packet_put_u8(p, units);
	for (size_t i = 2; i < len_bytes; i++)
		packet_put_u8(p, 0);
}

void packet_extension(struct packet_buf *p, unsigned next, size_t len_bytes)
{
	put_option_header(p, next, (unsigned)(len_bytes / 8 - 1), len_bytes);
}

void packet_authentication(struct packet_buf *p, unsigned next, size_t len_bytes)
{
	put_option_header(p, next, (unsigned)(len_bytes / 4 - 2), len_bytes);
}

void packet_ipv6_fragment(struct packet_buf *p, unsigned next, unsigned offset_and_more)
{
	packet_put_u8(p, next);
	packet_put_u8(p, 0);
	packet_put_u16(p, offset_and_more);
	packet_put_u16(p, 0);
	packet_put_u16(p, 7);
}

void packet_tcp(struct packet_buf *p, unsigned source_port, unsigned dest_port, unsigned flags)
{
	packet_put_u16(p, source_port);
	packet_put_u16(p, dest_port);
	packet_put_u16(p, 0);
	packet_put_u16(p, 1);
	packet_put_u16(p, 0);
	packet_put_u16(p, 0);
	packet_put_u8(p, 0x50);
	packet_put_u8(p, flags);
	packet_put_u16(p, 1000);
	packet_put_u16(p, 0);
	packet_put_u16(p, 0);
}

void packet_udp(struct packet_buf *p, unsigned source_port, unsigned dest_port)
{
	packet_put_u16(p, source_port);
	packet_put_u16(p, dest_port);
	packet_put_u16(p, 8);
	packet_put_u16(p, 0);
}

static void put_head(struct packet_buf *p, const char *source, const char *dest, unsigned proto)
{
	packet_ethernet(p, packet_is_v6(source) ? 0x86dd : 0x0800, 0);
	if (packet_is_v6(source))
		packet_ipv6(p, source, dest, proto);
	else
		packet_ipv4(p, source, dest, proto, 0, 0);
}

struct packet_buf packet_tcp_frame(const char *source, unsigned source_port, const char *dest, unsigned dest_port, unsigned flags)
{
	struct packet_buf p = { .len_bytes = 0 };

	put_head(&p, source, dest, 6);
	packet_tcp(&p, source_port, dest_port, flags);
	return p;
}

struct packet_buf packet_with_sequence(struct packet_buf frame, uint32_t sequence)
{
	uint8_t *at = frame.bytes + 14 + (frame.bytes[14] >> 4 == 6 ? 40 : 20) + 4;

	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(sequence >> (24 - 8 * i));
	return frame;
}

struct packet_buf packet_proto_frame(const char *source, const char *dest, unsigned proto)
{
	struct packet_buf p = { .len_bytes = 0 };
	uint8_t zeros[8] = { 0 };

	put_head(&p, source, dest, proto);
	packet_put(&p, zeros, sizeof(zeros));
	return p;
}
