/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "encode.h"

#include <stdlib.h>
#include <string.h>

void bytes_done(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

void bytes_clear(struct bytes *b)
{
	b->len = 0;
}

void put_raw(struct bytes *b, const void *data, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2 + 64;
		b->data = realloc(b->data, b->cap);
		if (!b->data)
			abort();
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

void put_varint(struct bytes *b, uint64_t value)
{
	do {
		uint8_t byte = (uint8_t)(value & 0x7f);

		value >>= 7;
		byte |= value ? 0x80 : 0;
		put_raw(b, &byte, 1);
	} while (value);
}

void put_number(struct bytes *b, unsigned field, uint64_t value)
{
	put_varint(b, (uint64_t)field << 3);
	put_varint(b, value);
}

void put_bytes(struct bytes *b, unsigned field, const void *data, size_t len)
{
	put_varint(b, (uint64_t)field << 3 | 2);
	put_varint(b, len);
	put_raw(b, data, len);
}

void put_text(struct bytes *b, unsigned field, const char *text)
{
	put_bytes(b, field, text, strlen(text));
}

void put_message(struct bytes *b, unsigned field, struct bytes *m)
{
	put_bytes(b, field, m->data, m->len);
	bytes_done(m);
}

void put_entry(struct bytes *b, unsigned field, const char *key, const char *value)
{
	struct bytes entry = { 0 };

	put_text(&entry, 1, key);
	put_text(&entry, 2, value);
	put_message(b, field, &entry);
}

void put_meta(struct bytes *b, const char *name_space, const char *name, const char *uid, const char *version)
{
	struct bytes meta = { 0 };

	put_text(&meta, 1, name);
	put_text(&meta, 3, name_space);
	put_text(&meta, 5, uid);
	put_text(&meta, 6, version);
	put_message(b, 1, &meta);
}

void put_pod(struct bytes *b, const char *name, const char *version, const char *node, const char *address)
{
	struct bytes spec = { 0 }, status = { 0 }, ip = { 0 };

	put_meta(b, "default", name, "uid-of-it", version);
	put_text(&spec, 10, node);
	put_message(b, 2, &spec);
	put_text(&status, 1, "Running");
	put_text(&status, 6, address);
	put_text(&ip, 1, address);
	put_message(&status, 12, &ip);
	put_message(b, 3, &status);
}

void put_envelope(struct bytes *b, const char *api_version, const char *kind, struct bytes *object)
{
	struct bytes type = { 0 };

	put_raw(b, "k8s", 4);
	put_text(&type, 1, api_version);
	put_text(&type, 2, kind);
	put_message(b, 1, &type);
	put_message(b, 2, object);
	put_text(b, 3, "");
	put_text(b, 4, "");
}

void put_event(struct bytes *b, const char *type, const char *kind, struct bytes *object)
{
	struct bytes event = { 0 }, extension = { 0 }, raw = { 0 };
	uint8_t head[4];

	put_envelope(&raw, "v1", kind, object);
	put_message(&extension, 1, &raw);
	put_text(&event, 1, type);
	put_message(&event, 2, &extension);
	for (int i = 0; i < 4; i++)
		head[i] = (uint8_t)(event.len >> (24 - 8 * i));
	put_raw(b, head, sizeof(head));
	put_raw(b, event.data, event.len);
	bytes_done(&event);
}

void put_status(struct bytes *b, unsigned code, const char *reason, const char *text)
{
	put_text(b, 2, "Failure");
	put_text(b, 3, text);
	put_text(b, 4, reason);
	put_number(b, 6, code);
}
