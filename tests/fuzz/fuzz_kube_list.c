/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A streamed list of the Kubernetes API: byte 0 chooses the kind, byte 1 the size of the pieces, the rest is the answer. What comes out does not
 * depend on the pieces, and no more is held than one object. */
#include "target.h"

#include "kube/message.h"
#include "kube/split.h"

#include <string.h>

struct seen {
	struct message *message;
	enum object_kind kind;
	unsigned metas, items, good, refused;
	uint64_t hash;
};

static void see(struct seen *s, const char *text)
{
	for (; *text; text++)
		s->hash = (s->hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
}

static bool meta_came(void *ctx, struct split_span span)
{
	struct message_list_meta meta;
	struct seen *s = ctx;

	s->metas++;
	if (message_list_meta(s->message, span.bytes, span.len_bytes, &meta) == 0) {
		see(s, meta.version);
		see(s, meta.continue_token);
	}
	return true;
}

static bool item_came(void *ctx, struct split_span span)
{
	struct seen *s = ctx;
	struct object o;

	must(span.len_bytes <= SPLIT_OBJECT_MAX_BYTES);
	s->items++;
	if (message_object(s->message, s->kind, span.bytes, span.len_bytes, &o) < 0) {
		must(message_error(s->message)[0] != '\0');
		return true;
	}
	s->good++;
	must(o.kind == s->kind && o.faults_count <= MESSAGE_FAULTS_MAX);
	see(s, o.meta.name);
	see(s, o.meta.version);
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
	static const struct list_split_ops ops = { meta_came, item_came, refused };
	struct list_split split;
	int rc = 0;

	list_split_init(&split, message_list_name(s->kind), &ops, s);
	for (size_t at = 0; rc == 0 && at < len_bytes; at += piece) {
		rc = list_split_feed(&split, bytes + at, len_bytes - at < piece ? len_bytes - at : piece);
		must(split.buffer.cap <= 2 * SPLIT_OBJECT_MAX_BYTES);
	}
	if (rc == 0)
		rc = list_split_end(&split);
	must(rc == 0 || split.error[0] != '\0');
	list_split_done(&split);
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
	must(whole.hash == pieces.hash && whole.items == pieces.items && whole.good == pieces.good && whole.metas == pieces.metas);
	message_destroy(m);
	return 0;
}
