/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/body.h"

#include "base/base64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_FIRST_BYTES = 1024 };

void body_append(struct body *b, const void *bytes, size_t len_bytes)
{
	if (b->is_broken)
		return;
	if (b->len_bytes + len_bytes + 1 > b->cap_bytes) {
		size_t cap = b->cap_bytes ? b->cap_bytes : BODY_FIRST_BYTES;
		char *text;

		while (cap < b->len_bytes + len_bytes + 1)
			cap *= 2;
		/* Not realloc: it would leave a copy behind that nobody wipes. */
		text = malloc(cap);
		if (!text) {
			b->is_broken = true;
			return;
		}
		if (b->text) {
			memcpy(text, b->text, b->len_bytes);
			explicit_bzero(b->text, b->len_bytes);
			free(b->text);
		}
		b->text = text;
		b->cap_bytes = cap;
	}
	memcpy(b->text + b->len_bytes, bytes, len_bytes);
	b->len_bytes += len_bytes;
	b->text[b->len_bytes] = '\0';
}

void body_put(struct body *b, const char *json)
{
	body_append(b, json, strlen(json));
}

void body_put_text(struct body *b, const char *text)
{
	body_append(b, "\"", 1);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		char escaped[8];

		if (c == '"' || c == '\\')
			snprintf(escaped, sizeof(escaped), "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			snprintf(escaped, sizeof(escaped), "\\u%04x", c);
		else
			snprintf(escaped, sizeof(escaped), "%c", c < 0x80 ? c : '?');
		body_append(b, escaped, strlen(escaped));
	}
	body_append(b, "\"", 1);
}

void body_put_base64(struct body *b, const void *bytes, size_t len_bytes)
{
	enum { PIECE_BYTES = 3 * 256 }; /* whole groups of three: only the last piece is padded */
	char text[BASE64_TEXT_BYTES(PIECE_BYTES)];

	body_append(b, "\"", 1);
	for (const char *at = bytes; len_bytes;) {
		size_t n = len_bytes < PIECE_BYTES ? len_bytes : PIECE_BYTES;

		body_append(b, text, base64_encode(at, n, text));
		at += n;
		len_bytes -= n;
	}
	body_append(b, "\"", 1);
}

void body_done(struct body *b)
{
	if (b->text)
		explicit_bzero(b->text, b->len_bytes);
	free(b->text);
	*b = (struct body){ 0 };
}
