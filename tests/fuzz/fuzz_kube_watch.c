/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A streamed watch of the Kubernetes API: byte 0 chooses the kind, byte 1 the size of the pieces, the rest is the answer. */
#include "target.h"

#include "kube/message.h"
#include "kube/split.h"

#include <string.h>

struct seen {
	struct message *message;
	enum object_kind kind;
	unsigned events, refused;
	uint64_t hash;
};

static void see(struct seen *s, const char *text)
{
	for (; *text; text++)
		s->hash = (s->hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
}

static bool event_came(void *ctx, enum watch_event type, const struct split_envelope *e)
{
	struct seen *s = ctx;
	struct message_status status;
	const char *version;
	struct object o;

	s->events++;
	must(type < WATCH_EVENTS);
	if (type == WATCH_ERROR) {
		if (message_status(s->message, e->object.bytes, e->object.len_bytes, &status) == 0)
			see(s, status.text);
	} else if (type == WATCH_BOOKMARK) {
		if (message_version(s->message, e->object.bytes, e->object.len_bytes, &version) == 0)
			see(s, version);
	} else if (message_object(s->message, s->kind, e->object.bytes, e->object.len_bytes, &o) == 0) {
		see(s, o.meta.name);
	}
	return true;
}

static void refused(void *ctx, const char *text)
{
	struct seen *s = ctx;

	must(text[0] != '\0');
	s->refused++;
}

static int feed(struct seen *s, const uint8_t *bytes, size_t len_bytes, size_t piece)
{
	static const struct watch_split_ops ops = { event_came, refused };
	struct watch_split split;
	int rc = 0;

	watch_split_init(&split, &ops, s);
	for (size_t at = 0; rc == 0 && at < len_bytes; at += piece)
		rc = watch_split_feed(&split, bytes + at, len_bytes - at < piece ? len_bytes - at : piece);
	must(rc == 0 || split.error[0] != '\0');
	watch_split_done(&split);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	struct seen whole = { 0 }, pieces;
	struct message *m;
	int rc;

	if (len_bytes < 2)
		return 0;
	must(message_create(&m) == 0);
	whole = (struct seen){ .message = m, .kind = (enum object_kind)(bytes[0] % OBJECT_KINDS) };
	pieces = whole;
	rc = feed(&whole, bytes + 2, len_bytes - 2, len_bytes);
	must(feed(&pieces, bytes + 2, len_bytes - 2, (size_t)bytes[1] + 1) == rc);
	must(whole.hash == pieces.hash && whole.events == pieces.events && whole.refused == pieces.refused);
	message_destroy(m);
	return 0;
}
