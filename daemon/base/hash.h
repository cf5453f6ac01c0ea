/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hash.h - a hash for tables by name or address. It has no secret: keys come from the cluster's own records, never from a stranger.
 * Thread: any. */
#ifndef CULVERT_BASE_HASH_H
#define CULVERT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Spreads well in all of its bits; the same in every run. */
uint64_t hash_bytes(const void *bytes, size_t len_bytes);

#endif
