/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames: the input is one record of a peer. Walking it must end and stay inside of it; what a decoder took must come out of our own encoder
 * in a form that gives the same again. */
#include "target.h"

#include "tunnel/frame.h"

#include <stdlib.h>
#include <string.h>

/* Decodes f and encodes it again to dst. 0 where it is not taken, or where there is nothing to decode. */
static size_t frame_again(const struct frame *f, uint8_t dst[FRAME_CONTROL_MAX])
{
	union {
		struct frame_hello hello;
		struct frame_open open;
		struct frame_opened opened;
		struct frame_reset reset;
		struct frame_switch change;
		struct frame_window window;
		struct frame_goaway goaway;
		struct frame_pair pair;
		struct frame_cause cause;
		bool is_silent;
		uint64_t number;
	} m;

	switch ((enum frame_type)f->type) {
	case FRAME_HELLO:
		return frame_get_hello(f, &m.hello) == FRAME_OK ? frame_put_hello(dst, &m.hello) : 0;
	case FRAME_OPEN:
		return frame_get_open(f, &m.open) == FRAME_OK ? frame_put_open(dst, f->stream, &m.open) : 0;
	case FRAME_OPENED:
		return frame_get_opened(f, &m.opened) == FRAME_OK ? frame_put_opened(dst, f->stream, &m.opened) : 0;
	case FRAME_DATA:
		return 0;
	case FRAME_TAKEN:
		return frame_put_taken(dst, f->stream);
	case FRAME_END:
		return frame_get_end(f, &m.number) == FRAME_OK ? frame_put_end(dst, f->stream, m.number) : 0;
	case FRAME_RESET:
		return frame_get_reset(f, &m.reset) == FRAME_OK ? frame_put_reset(dst, f->stream, &m.reset) : 0;
	case FRAME_SWITCH:
		return frame_get_switch(f, &m.change) == FRAME_OK ? frame_put_switch(dst, f->stream, &m.change) : 0;
	case FRAME_WINDOW:
		return frame_get_window(f, &m.window) == FRAME_OK ? frame_put_window(dst, f->stream, f->flags, &m.window) : 0;
	case FRAME_PING:
		return frame_get_ping(f, &m.number) == FRAME_OK ? frame_put_ping(dst, f->flags, m.number) : 0;
	case FRAME_GOAWAY:
		return frame_get_goaway(f, &m.goaway) == FRAME_OK ? frame_put_goaway(dst, &m.goaway) : 0;
	case FRAME_PAIR:
		return frame_get_pair(f, &m.pair) == FRAME_OK ? frame_put_pair(dst, &m.pair) : 0;
	case FRAME_CAUSE:
		return frame_get_cause(f, &m.cause) == FRAME_OK ? frame_put_cause(dst, f->stream, &m.cause) : 0;
	case FRAME_SILENT:
		return frame_get_silent(f, &m.is_silent) == FRAME_OK ? frame_put_silent(dst, f->stream, m.is_silent) : 0;
	}
	abort(); /* frame_next lets no other type through */
}

static void check_frame(const struct frame *f)
{
	uint8_t first[FRAME_CONTROL_MAX], second[FRAME_CONTROL_MAX];
	size_t first_bytes = frame_again(f, first), offset = 0;
	struct frame g;

	if (!first_bytes)
		return;
	must(first_bytes <= sizeof(first));
	must(frame_next(first, first_bytes, &offset, &g) == FRAME_OK && offset == first_bytes);
	must(g.type == f->type && g.stream == f->stream);
	must(frame_again(&g, second) == first_bytes && !memcmp(first, second, first_bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	size_t offset = 0, before = 0;
	enum frame_result r;
	struct frame f;

	if (len_bytes > TLS_PLAIN_MAX)
		return 0;
	while ((r = frame_next(bytes, len_bytes, &offset, &f)) == FRAME_OK) {
		must(offset > before && offset <= len_bytes);
		must(f.payload + f.len_bytes == bytes + offset);
		check_frame(&f);
		before = offset;
	}
	must(frame_result_text(r)[0] != '\0');
	must(r != FRAME_AT_END || offset == len_bytes);
	return 0;
}
