/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pem.h - PEM texts (RFC 7468): taken apart into DER blocks, and made.
 * Knows labels and lines, nothing of what the blocks hold. What may hold a key is wiped before it is freed.
 * Plain functions; any thread. */
#ifndef CULVERT_TLS_PEM_H
#define CULVERT_TLS_PEM_H

#include <stddef.h>
#include <stdint.h>

enum { PEM_BLOCKS_MAX = 64, PEM_LABEL_BYTES = 32 };

struct pem_block {
	char label[PEM_LABEL_BYTES]; /* "CERTIFICATE"; a longer one is cut */
	unsigned line;               /* of its BEGIN, from 1 */
	uint8_t *der;
	size_t len_bytes;
};

struct pem {
	struct pem_block *blocks;
	size_t count;
};

/* A PEM text that was made; NUL-terminated. */
struct pem_text {
	char *text;
	size_t len_bytes;
};

enum pem_fault {
	PEM_OK,
	PEM_EMPTY,    /* nothing but white space */
	PEM_NO_BLOCK, /* text without any BEGIN line */
	PEM_CUT,      /* a BEGIN without its END */
	PEM_MISMATCH, /* an END with another label */
	PEM_BASE64,   /* a block's text is not base64, or empty */
	PEM_TOO_MANY, /* more than PEM_BLOCKS_MAX */
	PEM_NO_MEMORY,
};

/* Takes text apart. PEM_OK and *ret filled (pem_done undoes it); else *ret is untouched and *ret_line tells where the fault is (0:
 * nowhere). */
enum pem_fault pem_parse(const char *text, size_t len_bytes, struct pem *ret, unsigned *ret_line);
/* The fault as the end of a sentence that begins with the file's name. */
const char *pem_fault_text(enum pem_fault fault);
void pem_done(struct pem *p); /* of one that was filled, or zeroed */

/* Appends a block to *t, which begins zeroed. 0 or -ENOMEM with *t as it was. */
int pem_append(struct pem_text *t, const char *label, const uint8_t *der, size_t len_bytes);
void pem_free(struct pem_text *t);

#endif
