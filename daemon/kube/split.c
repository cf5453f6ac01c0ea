/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/split.h"

#include "base/text.h"
#include "kube/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields of the envelopes and of every list. */
enum { UNKNOWN_TYPE = 1, UNKNOWN_RAW = 2, TYPE_API_VERSION = 1, TYPE_KIND = 2, LIST_FIELD_META = 1, LIST_FIELD_ITEM = 2 };
enum { EVENT_TYPE = 1, EVENT_OBJECT = 2, EXTENSION_RAW = 1 };

enum {
	BUFFER_FIRST_BYTES = 8 << 10, /* a pod's size */
	BUFFER_KEEP_BYTES = 64 << 10, /* what is larger was needed by a rare object, and goes with it */
	EVENT_AROUND_BYTES = 4 << 10, /* what stands around the object of an event */
};

static const uint8_t magic[4] = { 'k', '8', 's', 0 };

static const char *const event_names[] = {
	[WATCH_ADDED] = "ADDED",       [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED",
	[WATCH_BOOKMARK] = "BOOKMARK", [WATCH_ERROR] = "ERROR",
};
_Static_assert(sizeof(event_names) / sizeof(event_names[0]) == WATCH_EVENTS, "a name for each event");

__attribute__((format(printf, 2, 3))) static int fault(char error[SPLIT_ERROR_BYTES], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, SPLIT_ERROR_BYTES, format, args);
	va_end(args);
	return -EBADMSG;
}

bool split_span_is(struct split_span s, const char *text)
{
	return s.len_bytes == strlen(text) && memcmp(s.bytes, text, s.len_bytes) == 0;
}

static const char *quote_span(struct split_span s, char quoted[TEXT_QUOTE_BYTES])
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%.*s", s.len_bytes < sizeof(text) ? (int)s.len_bytes : (int)sizeof(text),
	               (const char *)s.bytes);
	return text_quote(text, quoted);
}

static int get_type_meta(struct split_span s, struct split_span *ret_api_version, struct split_span *ret_kind)
{
	const uint8_t *at = s.bytes;
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&at, s.bytes + s.len_bytes, &f)) > 0) {
		if (f.type == WIRE_BYTES && f.number == TYPE_API_VERSION)
			*ret_api_version = (struct split_span){ f.bytes, f.len_bytes };
		else if (f.type == WIRE_BYTES && f.number == TYPE_KIND)
			*ret_kind = (struct split_span){ f.bytes, f.len_bytes };
	}
	return rc;
}

int split_envelope(const void *bytes, size_t len_bytes, struct split_envelope *ret)
{
	static const uint8_t none[1] = { 0 };
	struct split_envelope e = { { none, 0 }, { none, 0 }, { none, 0 } };
	const uint8_t *at = bytes, *end = at + len_bytes;
	struct wire_field f;
	int rc;

	if (len_bytes < sizeof(magic) || memcmp(at, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	at += sizeof(magic);
	while ((rc = wire_next(&at, end, &f)) > 0) {
		if (f.type == WIRE_BYTES && f.number == UNKNOWN_TYPE &&
		    get_type_meta((struct split_span){ f.bytes, f.len_bytes }, &e.api_version, &e.kind) < 0)
			return -EBADMSG;
		if (f.type == WIRE_BYTES && f.number == UNKNOWN_RAW)
			e.object = (struct split_span){ f.bytes, f.len_bytes };
	}
	if (rc < 0)
		return rc;
	*ret = e;
	return 0;
}

/* ---- What has not arrived whole ---- */

/* Takes what belongs to the part of need bytes. 1 and *ret: it is whole; it lies in the input where all of it does. 0: more must come.
 * The buffer grows with what has come and not with what was promised. */
static int buffer_feed(struct split_buffer *b, const uint8_t **at, const uint8_t *end, struct split_span *ret)
{
	size_t take = (size_t)(end - *at);

	if (take > b->need - b->len)
		take = b->need - b->len;
	if (take == b->need) {
		*ret = (struct split_span){ *at, take };
		*at += take;
		return 1;
	}
	if (b->len + take > b->cap) {
		size_t cap = b->cap ? b->cap : BUFFER_FIRST_BYTES;
		uint8_t *bigger;

		while (cap < b->len + take)
			cap *= 2;
		bigger = realloc(b->bytes, cap);
		if (!bigger)
			return -ENOMEM;
		b->bytes = bigger;
		b->cap = cap;
	}
	memcpy(b->bytes + b->len, *at, take);
	b->len += take;
	*at += take;
	if (b->len < b->need)
		return 0;
	*ret = (struct split_span){ b->bytes, b->len };
	return 1;
}

static void buffer_begin(struct split_buffer *b, size_t need)
{
	b->need = need;
	b->len = 0;
}

static void buffer_end(struct split_buffer *b)
{
	b->len = 0;
	if (b->cap <= BUFFER_KEEP_BYTES)
		return;
	free(b->bytes);
	*b = (struct split_buffer){ 0 };
}

static void buffer_done(struct split_buffer *b)
{
	free(b->bytes);
	*b = (struct split_buffer){ 0 };
}

/* ---- Lists ---- */

void list_split_init(struct list_split *s, const char *kind, const struct list_split_ops *ops, void *ctx)
{
	*s = (struct list_split){ .ops = ops, .ctx = ctx, .kind = kind };
}

void list_split_done(struct list_split *s)
{
	buffer_done(&s->buffer);
}

/* n bytes of the input are used. */
static int list_use(struct list_split *s, uint64_t n)
{
	if (!s->is_inside)
		return 0;
	if (n > s->inside_left)
		return fault(s->error, "the list is shorter than its own fields");
	s->inside_left -= n;
	return 0;
}

static void list_next_field(struct list_split *s)
{
	s->state = LIST_TAG;
	s->varint = 0;
	s->varint_bytes = 0;
	if (s->is_inside && s->inside_left == 0)
		s->is_inside = false;
}

/* One byte of a varint. 1: it is whole. */
static int list_varint(struct list_split *s, uint8_t byte)
{
	if (s->varint_bytes == WIRE_VARINT_MAX)
		return fault(s->error, "a number that does not end");
	s->varint |= (uint64_t)(byte & 0x7f) << (7 * s->varint_bytes++);
	return !(byte & 0x80);
}

static int list_skip(struct list_split *s, uint64_t len_bytes)
{
	s->skip_bytes = len_bytes;
	s->state = LIST_SKIP;
	if (len_bytes == 0)
		list_next_field(s);
	return 0;
}

static int list_tag(struct list_split *s)
{
	uint64_t tag = s->varint;

	s->varint = 0;
	s->varint_bytes = 0;
	if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
		return fault(s->error, "a field has no valid number");
	s->number = (uint32_t)(tag >> 3);
	s->part = LIST_OTHER;
	switch (tag & 7) {
	case WIRE_VARINT:
		s->state = LIST_VARINT;
		return 0;
	case WIRE_64:
		return list_skip(s, 8);
	case WIRE_32:
		return list_skip(s, 4);
	case WIRE_BYTES:
		s->state = LIST_LENGTH;
		return 0;
	default:
		return fault(s->error, "field %u has no known type", s->number);
	}
}

static int list_gathered(struct list_split *s, struct split_span span)
{
	switch (s->part) {
	case LIST_TYPE: {
		struct split_span version = span, kind = { span.bytes, 0 };
		char quoted[TEXT_QUOTE_BYTES];

		if (get_type_meta(span, &version, &kind) < 0)
			return fault(s->error, "the type of the answer can not be read");
		if (!split_span_is(kind, s->kind))
			return fault(s->error, "the answer is a %s where a %s was asked for", quote_span(kind, quoted), s->kind);
		s->has_type = true;
		return 0;
	}
	case LIST_META:
		return s->ops->meta(s->ctx, span) ? 0 : -ECANCELED;
	case LIST_ITEM:
		s->items++;
		return s->ops->item(s->ctx, span) ? 0 : -ECANCELED;
	default:
		return 0;
	}
}

static int list_gather(struct list_split *s, uint64_t len_bytes, uint64_t max_bytes)
{
	char text[128];
	int rc;

	if (len_bytes > max_bytes && s->part == LIST_ITEM) {
		s->items++;
		(void)snprintf(text, sizeof(text), "an object of %llu bytes in the %s; at most %llu are taken",
		               (unsigned long long)len_bytes, s->kind, (unsigned long long)max_bytes);
		s->ops->refused(s->ctx, text);
		return list_skip(s, len_bytes);
	}
	if (len_bytes > max_bytes)
		return fault(s->error, "the list's description has %llu bytes", (unsigned long long)len_bytes);
	s->state = LIST_GATHER;
	buffer_begin(&s->buffer, (size_t)len_bytes);
	if (len_bytes > 0)
		return 0;
	rc = list_gathered(s, (struct split_span){ (const uint8_t *)"", 0 });
	list_next_field(s);
	return rc;
}

/* The length of a field of bytes is known: what it is decides what becomes of it. */
static int list_length(struct list_split *s)
{
	uint64_t len = s->varint;

	s->varint = 0;
	s->varint_bytes = 0;
	if (s->is_inside) {
		if (len > s->inside_left)
			return fault(s->error, "a field of %llu bytes in a list that ends after %llu", (unsigned long long)len,
			             (unsigned long long)s->inside_left);
		s->part = s->number == LIST_FIELD_META ? LIST_META : s->number == LIST_FIELD_ITEM ? LIST_ITEM : LIST_OTHER;
		return s->part == LIST_META   ? list_gather(s, len, SPLIT_SMALL_MAX_BYTES)
		       : s->part == LIST_ITEM ? list_gather(s, len, SPLIT_OBJECT_MAX_BYTES)
		                              : list_skip(s, len);
	}
	if (s->number == UNKNOWN_TYPE) {
		s->part = LIST_TYPE;
		return list_gather(s, len, SPLIT_SMALL_MAX_BYTES);
	}
	if (s->number != UNKNOWN_RAW)
		return list_skip(s, len);
	if (!s->has_type || s->has_list)
		return fault(s->error, s->has_list ? "a second list in one answer" : "a list that does not say its kind");
	s->has_list = true;
	s->is_inside = true;
	s->inside_left = len;
	list_next_field(s);
	return 0;
}

static int list_byte(struct list_split *s, uint8_t byte)
{
	int rc;

	if (s->state == LIST_MAGIC) {
		if (byte != magic[s->magic_bytes])
			return fault(s->error, "the answer is not in Kubernetes' protobuf");
		if (++s->magic_bytes == sizeof(magic))
			s->state = LIST_TAG;
		return 0;
	}
	rc = list_use(s, 1);
	if (rc == 0)
		rc = list_varint(s, byte);
	if (rc <= 0)
		return rc;
	if (s->state == LIST_TAG)
		return list_tag(s);
	if (s->state == LIST_LENGTH)
		return list_length(s);
	list_next_field(s);
	return 0;
}

int list_split_feed(struct list_split *s, const void *bytes, size_t len_bytes)
{
	const uint8_t *at = bytes, *end = at + len_bytes;
	int rc = 0;

	while (rc == 0 && at < end) {
		const uint8_t *begin = at;

		if (s->state == LIST_SKIP) {
			uint64_t n = (uint64_t)(end - at) < s->skip_bytes ? (uint64_t)(end - at) : s->skip_bytes;

			at += n;
			s->skip_bytes -= n;
			rc = list_use(s, n);
			if (rc == 0 && s->skip_bytes == 0)
				list_next_field(s);
		} else if (s->state == LIST_GATHER) {
			struct split_span span;
			int whole = buffer_feed(&s->buffer, &at, end, &span);

			rc = whole < 0 ? whole : list_use(s, (uint64_t)(at - begin));
			if (whole > 0 && rc == 0) {
				rc = list_gathered(s, span);
				buffer_end(&s->buffer);
				list_next_field(s);
			}
		} else {
			rc = list_byte(s, *at++);
		}
	}
	return rc;
}

int list_split_end(struct list_split *s)
{
	if (s->has_list && !s->is_inside && s->state == LIST_TAG && s->varint_bytes == 0)
		return 0;
	return fault(s->error, "the list was cut off after %llu objects", (unsigned long long)s->items);
}

/* ---- Watches ---- */

void watch_split_init(struct watch_split *s, const struct watch_split_ops *ops, void *ctx)
{
	*s = (struct watch_split){ .ops = ops, .ctx = ctx };
}

void watch_split_done(struct watch_split *s)
{
	buffer_done(&s->buffer);
}

static int watch_gathered(struct watch_split *s, struct split_span frame)
{
	const uint8_t *at = frame.bytes, *end = at + frame.len_bytes;
	struct split_span type = { at, 0 }, extension = { at, 0 }, raw = { at, 0 };
	struct split_envelope object;
	char quoted[TEXT_QUOTE_BYTES];
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&at, end, &f)) > 0) {
		if (f.type == WIRE_BYTES && f.number == EVENT_TYPE)
			type = (struct split_span){ f.bytes, f.len_bytes };
		else if (f.type == WIRE_BYTES && f.number == EVENT_OBJECT)
			extension = (struct split_span){ f.bytes, f.len_bytes };
	}
	if (rc < 0)
		return fault(s->error, "an event of %zu bytes can not be read", frame.len_bytes);
	at = extension.bytes;
	while ((rc = wire_next(&at, extension.bytes + extension.len_bytes, &f)) > 0) {
		if (f.type == WIRE_BYTES && f.number == EXTENSION_RAW)
			raw = (struct split_span){ f.bytes, f.len_bytes };
	}
	if (rc < 0 || split_envelope(raw.bytes, raw.len_bytes, &object) < 0)
		return fault(s->error, "the object of an event of %zu bytes can not be read", frame.len_bytes);
	for (int i = 0; i < WATCH_EVENTS; i++) {
		if (split_span_is(type, event_names[i]))
			return s->ops->event(s->ctx, (enum watch_event)i, &object) ? 0 : -ECANCELED;
	}
	return fault(s->error, "an event of the type %s, which is not known", quote_span(type, quoted));
}

static int watch_head(struct watch_split *s)
{
	uint32_t len = (uint32_t)s->head[0] << 24 | (uint32_t)s->head[1] << 16 | (uint32_t)s->head[2] << 8 | s->head[3];
	char text[128];

	s->head_bytes = 0;
	if (len == 0)
		return fault(s->error, "an event of no bytes");
	if (len > SPLIT_OBJECT_MAX_BYTES + EVENT_AROUND_BYTES) {
		(void)snprintf(text, sizeof(text), "an event of %u bytes; at most %d are taken", len, SPLIT_OBJECT_MAX_BYTES);
		s->ops->refused(s->ctx, text);
		s->skip_bytes = len;
		return 0;
	}
	s->is_gathering = true;
	buffer_begin(&s->buffer, len);
	return 0;
}

int watch_split_feed(struct watch_split *s, const void *bytes, size_t len_bytes)
{
	const uint8_t *at = bytes, *end = at + len_bytes;
	int rc = 0;

	while (rc == 0 && at < end) {
		if (s->skip_bytes > 0) {
			uint64_t n = (uint64_t)(end - at) < s->skip_bytes ? (uint64_t)(end - at) : s->skip_bytes;

			at += n;
			s->skip_bytes -= n;
		} else if (s->is_gathering) {
			struct split_span frame;
			int whole = buffer_feed(&s->buffer, &at, end, &frame);

			rc = whole < 0 ? whole : 0;
			if (whole > 0) {
				s->is_gathering = false;
				rc = watch_gathered(s, frame);
				buffer_end(&s->buffer);
			}
		} else {
			s->head[s->head_bytes++] = *at++;
			if (s->head_bytes == sizeof(s->head))
				rc = watch_head(s);
		}
	}
	return rc;
}

bool watch_split_is_between(const struct watch_split *s)
{
	return s->head_bytes == 0 && s->skip_bytes == 0 && !s->is_gathering;
}
