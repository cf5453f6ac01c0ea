/* SPDX-License-Identifier: GPL-3.0-or-later */
/* text.h - what messages to people need: foreign text made safe to show, numbers checked, the word that was probably meant.
 * Plain functions; any thread. */
#ifndef CULVERT_BASE_TEXT_H
#define CULVERT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for the longest that text_quote makes. */
enum { TEXT_QUOTE_BYTES = 4 * 80 + 6 };

/* "text" in double quotes, control bytes and everything beyond ASCII as \xNN, cut after 80 bytes with "...". Returns ret. */
const char *text_quote(const char *text, char ret[TEXT_QUOTE_BYTES]);

/* Decimal digits only, at least one. -EINVAL: not a number; -ERANGE: more than 64 bits. */
int text_parse_u64(const char *text, uint64_t *ret);

/* A DNS subdomain as Kubernetes names nodes: small letters, digits, and inside them - and single dots; at most 253 bytes. */
bool text_is_subdomain(const char *text);

/* DOMAIN/PATH, as Kubernetes names who signs certificates: culvert.dev/node. */
bool text_is_signer(const char *text);

/* text as a part of a URL's path or query: each byte but letters, digits and "-_.~" as %XX. What does not fit in size is left out. */
void text_percent(const char *text, char *ret, size_t size);

/* How many letters must be changed, added, taken out or swapped with their neighbour to make b of a. Texts longer than 64 bytes count as
 * wholly different. */
unsigned text_distance(const char *a, const char *b);

/* The word of words (count of them) that was probably meant, or NULL where none is near. */
const char *text_nearest(const char *word, const char *const *words, size_t count);

#endif
