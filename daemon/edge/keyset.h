/* SPDX-License-Identifier: GPL-3.0-or-later */
/* keyset.h - a map of the kernel whose keys are all that it says (values: 1, 32 bits). Thread: main. */
#ifndef CULVERT_EDGE_KEYSET_H
#define CULVERT_EDGE_KEYSET_H

#include <stddef.h>

enum { KEYSET_KEY_BYTES_MAX = 36 };

/* Brings the map to the wanted keys, count of key_bytes each: what is wanted goes in first, what is not wanted any more out afterwards, or
 * before where both have no room side by side. 0 or -errno. */
int keyset_write(int fd, const void *wanted, size_t key_bytes, size_t count);

#endif
