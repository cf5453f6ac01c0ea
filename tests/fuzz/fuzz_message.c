/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The protobuf messages between two nodes: the first byte chooses HELLO, OPEN or OPENED, the rest is its payload. A message that is taken holds
 * only what proto/tunnel.proto allows; one that is not leaves the output untouched. */
#include "target.h"

#include "tunnel/frame.h"

#include <string.h>

enum { UNTOUCHED = 0xa5 };

static bool is_untouched(const void *m, size_t size)
{
	const uint8_t *p = m;

	for (size_t i = 0; i < size; i++)
		if (p[i] != UNTOUCHED)
			return false;
	return true;
}

static void check_hello(const struct frame *f)
{
	struct frame_hello m;

	memset(&m, UNTOUCHED, sizeof(m));
	if (frame_get_hello(f, &m) != FRAME_OK) {
		must(is_untouched(&m, sizeof(m)));
		return;
	}
	must(memchr(m.node, '\0', sizeof(m.node)) != NULL && m.node[0] != '\0');
	must(strspn(m.node, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(m.node));
	must(m.incarnation != 0 && m.streams_max > 0 && m.tunnel_credit_bytes > 0 && m.tunnel_credit_bytes <= INT64_MAX);
	must(m.initial_credit_bytes > 0 && m.initial_credit_bytes <= 1U << 30);
	must(m.link == FRAME_LINK_LIGHT || m.link == FRAME_LINK_BULK);
	must(m.lane <= FRAME_LANE_MAX);
}

static void check_open(const struct frame *f)
{
	struct frame_open m;

	memset(&m, UNTOUCHED, sizeof(m));
	if (frame_get_open(f, &m) != FRAME_OK) {
		must(is_untouched(&m, sizeof(m)));
		return;
	}
	must(m.client.port != 0 && m.server.port != 0);
	must(addr_is_v4(&m.client.addr) == addr_is_v4(&m.server.addr));
}

static void check_opened(const struct frame *f)
{
	struct frame_opened m;

	memset(&m, UNTOUCHED, sizeof(m));
	if (frame_get_opened(f, &m) != FRAME_OK)
		must(is_untouched(&m, sizeof(m)));
	else
		must(m.mss_bytes <= UINT16_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	uint8_t record[FRAME_CONTROL_MAX];
	size_t offset = 0;
	struct frame f;
	uint8_t type;

	if (len_bytes < 1 || len_bytes - 1 > sizeof(record) - FRAME_HEAD_BYTES)
		return 0;
	type = (uint8_t)(FRAME_HELLO + bytes[0] % 3);
	frame_put_head(record, type, 0, (uint16_t)(len_bytes - 1), type == FRAME_HELLO ? 0 : 1);
	memcpy(record + FRAME_HEAD_BYTES, bytes + 1, len_bytes - 1);
	if (frame_next(record, FRAME_HEAD_BYTES + len_bytes - 1, &offset, &f) != FRAME_OK)
		return 0;
	if (type == FRAME_HELLO)
		check_hello(&f);
	else if (type == FRAME_OPEN)
		check_open(&f);
	else
		check_opened(&f);
	return 0;
}
