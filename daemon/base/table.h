/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.h - a longest-prefix table over addresses, and the hash that is used for such things.
 * One open-addressed hash over all prefixes, and for each family the list of lengths that are in use: a lookup costs one probe for each of
 * them, which in a cluster is two or three, whatever the number of prefixes is. Entries are only added. The hash has no secret: keys come
 * from the cluster's own records, never from a stranger. Thread: one while entries are added; any number that only find. */
#ifndef CULVERT_BASE_TABLE_H
#define CULVERT_BASE_TABLE_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prefix_table;

/* expected: how many prefixes will come; more is allowed. 0 or -ENOMEM. */
int prefix_table_create(size_t expected, struct prefix_table **ret);
void prefix_table_destroy(struct prefix_table *t); /* NULL is welcome */

/* p's host bits must be zero. 0; -EEXIST where p is there already; -ENOMEM with the table as it was. */
int prefix_table_add(struct prefix_table *t, const struct prefix *p, uint32_t value);
/* The value of exactly p. */
bool prefix_table_get(const struct prefix_table *t, const struct prefix *p, uint32_t *ret_value);
/* The longest prefix of at most max_len_bits (128: any) that contains a. An IPv6 prefix never contains an IPv4 address. */
bool prefix_table_find(const struct prefix_table *t, const struct addr *a, unsigned max_len_bits, struct prefix *ret_prefix,
                       uint32_t *ret_value);

/* Spreads well in all of its bits; the same in every run. */
uint64_t hash_bytes(const void *bytes, size_t len_bytes);

#endif
