/* SPDX-License-Identifier: GPL-3.0-or-later */
/* base64.h - RFC 4648's base64 with its padding, as Kubernetes writes bytes into JSON and YAML. Plain functions; any thread. */
#ifndef CULVERT_BASE_BASE64_H
#define CULVERT_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Room for len bytes in base64, with a NUL; and for what a text of len holds, with a NUL. */
#define BASE64_TEXT_BYTES(len)  (((len) + 2) / 3 * 4 + 1)
#define BASE64_BYTES_BYTES(len) ((len) / 4 * 3 + 3 + 1)

/* Writes the text with its NUL; returns its length. */
size_t base64_encode(const void *bytes, size_t len_bytes, char *ret_text);
/* Line ends and blanks are skipped. Ends what it writes with a NUL that is not counted. 0, or -EINVAL: not base64. */
int base64_decode(const char *text, size_t len_bytes, uint8_t *ret_bytes, size_t *ret_len_bytes);

#endif
