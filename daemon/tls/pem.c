/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/pem.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/coding.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PEM_BEGIN  "-----BEGIN "
#define PEM_END    "-----END "
#define PEM_DASHES "-----"

/* One line of the text, without its end and the white space before it. */
struct pem_line {
	const char *text;
	size_t len_bytes;
};

struct pem_reader {
	const char *at, *end;
	unsigned line;
};

static bool pem_next_line(struct pem_reader *r, struct pem_line *ret)
{
	const char *newline;

	if (r->at == r->end)
		return false;
	newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
	ret->text = r->at;
	ret->len_bytes = (size_t)((newline ? newline : r->end) - r->at);
	while (ret->len_bytes && strchr(" \t\r", ret->text[ret->len_bytes - 1]))
		ret->len_bytes--;
	r->at = newline ? newline + 1 : r->end;
	r->line++;
	return true;
}

/* Takes the label of a BEGIN or END line. */
static bool pem_take_label(const struct pem_line *l, const char *keyword, char ret[PEM_LABEL_BYTES])
{
	size_t head = strlen(keyword), dashes = strlen(PEM_DASHES), n;

	if (l->len_bytes < head + dashes || memcmp(l->text, keyword, head) != 0 ||
	    memcmp(l->text + l->len_bytes - dashes, PEM_DASHES, dashes) != 0)
		return false;
	n = l->len_bytes - head - dashes;
	if (n > PEM_LABEL_BYTES - 1)
		n = PEM_LABEL_BYTES - 1;
	memset(ret, 0, PEM_LABEL_BYTES);
	for (size_t i = 0; i < n; i++)
		ret[i] = l->text[head + i] >= ' ' && l->text[head + i] <= '~' ? l->text[head + i] : '?';
	return true;
}

/* body is the text between BEGIN and END; headers of an old-style encrypted key are no base64 and make it fail. */
static enum pem_fault pem_decode(const char *body, size_t len_bytes, struct pem_block *block)
{
	word32 out;

	if (len_bytes == 0 || len_bytes > INT_MAX)
		return PEM_BASE64;
	block->der = malloc(len_bytes);
	if (!block->der)
		return PEM_NO_MEMORY;
	block->len_bytes = len_bytes; /* what is to be wiped, also where decoding fails */
	out = (word32)len_bytes;
	if (Base64_Decode((const byte *)body, (word32)len_bytes, block->der, &out) != 0 || out == 0)
		return PEM_BASE64;
	block->len_bytes = out;
	return PEM_OK;
}

enum pem_fault pem_parse(const char *text, size_t len_bytes, struct pem *ret, unsigned *ret_line)
{
	struct pem_reader r = { .at = text, .end = text + len_bytes };
	struct pem p = { 0 };
	struct pem_line line;
	enum pem_fault fault = PEM_EMPTY;
	const char *body = NULL;
	unsigned fault_line = 0;
	char label[PEM_LABEL_BYTES];

	p.blocks = calloc(PEM_BLOCKS_MAX, sizeof(*p.blocks));
	if (!p.blocks)
		return PEM_NO_MEMORY;
	while (pem_next_line(&r, &line)) {
		struct pem_block *block = &p.blocks[p.count];

		if (!body) {
			if (line.len_bytes && fault == PEM_EMPTY)
				fault = PEM_NO_BLOCK; /* comments between blocks are allowed, a file of nothing else is not */
			if (!pem_take_label(&line, PEM_BEGIN, label))
				continue;
			if (p.count == PEM_BLOCKS_MAX) {
				fault = PEM_TOO_MANY;
				fault_line = r.line;
				goto fail;
			}
			memcpy(block->label, label, sizeof(label));
			block->line = r.line;
			body = r.at;
		} else if (pem_take_label(&line, PEM_END, label)) {
			fault_line = r.line;
			fault = PEM_MISMATCH;
			if (strcmp(label, block->label) != 0)
				goto fail;
			fault_line = block->line;
			fault = pem_decode(body, (size_t)(line.text - body), block);
			if (fault) {
				p.count++; /* its memory is freed with the others' */
				goto fail;
			}
			p.count++;
			body = NULL;
		} else if (pem_take_label(&line, PEM_BEGIN, label)) {
			break;
		}
	}
	if (body) {
		fault = PEM_CUT;
		fault_line = p.blocks[p.count].line;
		goto fail;
	}
	if (p.count == 0) {
		fault_line = 0;
		goto fail;
	}
	*ret = p;
	return PEM_OK;
fail:
	*ret_line = fault_line;
	pem_done(&p);
	return fault;
}

const char *pem_fault_text(enum pem_fault fault)
{
	static const char *const texts[] = {
		[PEM_OK] = "is well formed",
		[PEM_EMPTY] = "is empty: PEM blocks (-----BEGIN ...) should be in it",
		[PEM_NO_BLOCK] = "holds no PEM block: no line begins with -----BEGIN",
		[PEM_CUT] = "is cut: the block that begins here has no -----END line",
		[PEM_MISMATCH] = "is damaged: this -----END line does not belong to the -----BEGIN before it",
		[PEM_BASE64] = "is damaged: the block that begins here is not base64",
		[PEM_TOO_MANY] = "holds more than 64 PEM blocks",
		[PEM_NO_MEMORY] = "can not be read: out of memory",
	};

	return texts[fault];
}

void pem_done(struct pem *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->blocks[i].der)
			explicit_bzero(p->blocks[i].der, p->blocks[i].len_bytes);
		free(p->blocks[i].der);
	}
	free(p->blocks);
	*p = (struct pem){ 0 };
}

int pem_append(struct pem_text *t, const char *label, const uint8_t *der, size_t len_bytes)
{
	word32 body_bytes = 0;
	size_t label_bytes = strlen(label), frame_bytes, total;
	char *text, *at;

	/* Without a buffer it only tells the size. */
	(void)Base64_Encode(der, (word32)len_bytes, NULL, &body_bytes);
	frame_bytes = strlen(PEM_BEGIN) + strlen(PEM_END) + 2 * (label_bytes + strlen(PEM_DASHES) + 1);
	total = t->len_bytes + frame_bytes + body_bytes + 1;
	text = malloc(total);
	if (!text)
		return -ENOMEM;
	at = text;
	if (t->len_bytes)
		at = mempcpy(at, t->text, t->len_bytes);
	at = stpcpy(stpcpy(stpcpy(at, PEM_BEGIN), label), PEM_DASHES "\n");
	if (Base64_Encode(der, (word32)len_bytes, (byte *)at, &body_bytes) != 0) {
		explicit_bzero(text, total);
		free(text);
		return -ENOMEM;
	}
	at += body_bytes;
	at = stpcpy(stpcpy(stpcpy(at, PEM_END), label), PEM_DASHES "\n");
	pem_free(t);
	t->text = text;
	t->len_bytes = (size_t)(at - text);
	return 0;
}

void pem_free(struct pem_text *t)
{
	if (t->text)
		explicit_bzero(t->text, t->len_bytes);
	free(t->text);
	*t = (struct pem_text){ 0 };
}
