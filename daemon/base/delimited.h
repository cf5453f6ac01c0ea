/* SPDX-License-Identifier: GPL-3.0-or-later */
/* delimited.h - protobuf's delimited form: the length of a message as a varint before it. Both ends of the status socket use it.
 * Plain functions; any thread. */
#ifndef CULVERT_BASE_DELIMITED_H
#define CULVERT_BASE_DELIMITED_H

#include <stddef.h>
#include <stdint.h>

enum { DELIMITED_HEAD_MAX = 5 }; /* bytes of a 32-bit varint */

/* Reads the head at bytes. Returns its length, 0 where it is not whole yet, -EBADMSG where it is no 32-bit varint. */
int delimited_get(const uint8_t *bytes, size_t len_bytes, uint32_t *ret_message_bytes);
/* Writes a head; returns its length. */
size_t delimited_put(uint8_t dst[DELIMITED_HEAD_MAX], uint32_t message_bytes);

#endif
