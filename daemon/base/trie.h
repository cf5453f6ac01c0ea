/* SPDX-License-Identifier: GPL-3.0-or-later */
/* trie.h - prefixes with a small number each, longest prefix first, in versions that share what is the same in them.
 * A binary, path-compressed trie of counted nodes. A root is one version. Whoever has the only reference of a node changes it in place, a
 * shared one is copied first: so a change of a shared version copies the nodes on the way to one prefix, some twenty where there are 150,000,
 * and leaves the version that others read as it was. One prefix costs 80 bytes: a leaf and the fork above it.
 * NULL is the empty trie, and may be given wherever a root may.
 * Thread: any number may read and drop versions that they have a reference of; a root that is changed belongs to one. */
#ifndef CULVERT_BASE_TRIE_H
#define CULVERT_BASE_TRIE_H

#include "base/addr.h"

#include <stdint.h>

struct trie;

enum { TRIE_VALUE_BITS = 23, TRIE_VALUE_MAX = (1 << TRIE_VALUE_BITS) - 1 };

struct trie *trie_ref(struct trie *root);
/* Frees what no other version has; at most as deep as an address has bits. */
void trie_unref(struct trie *root);

/* Gives exactly p (host bits zero) the value, 1..TRIE_VALUE_MAX, or takes p out where it is 0. *root is the caller's reference, and what is
 * there afterwards too. *ret_before: what p had, 0: it was not there. 1, or 0 where nothing changed; -ENOMEM, and every prefix is as it was. */
int trie_set(struct trie **root, const struct prefix *p, uint32_t value, uint32_t *ret_before);

/* The value of exactly p; 0: not there. */
uint32_t trie_get(const struct trie *root, const struct prefix *p);
/* The value of the longest prefix of at most max_len_bits (128: any) that contains a, and that prefix (ret may be NULL); 0: none. An IPv6
 * prefix never contains an IPv4 address. */
uint32_t trie_find(const struct trie *root, const struct addr *a, unsigned max_len_bits, struct prefix *ret);

/* Calls each for every prefix inside of within, itself included (NULL: for all), in the order of addresses, the shorter of two that begin
 * alike first. Stops at the first negative return and gives it back. */
int trie_walk(const struct trie *root, const struct prefix *within, int (*each)(void *ctx, const struct prefix *p, uint32_t value),
              void *ctx);
/* Calls changed for every prefix whose value differs between the two; 0: not there. What both share is not looked at. In order and with
 * returns as trie_walk, but where the two fork differently at the same place all of before may come ahead of all of after. */
int trie_diff(const struct trie *before, const struct trie *after,
              int (*changed)(void *ctx, const struct prefix *p, uint32_t before, uint32_t after), void *ctx);

#endif
