/* SPDX-License-Identifier: GPL-3.0-or-later */
/* message.h - requests of the status socket decoded, answers encoded; proto/status.proto is the specification.
 * Knows no socket. Plain functions; any thread. */
#ifndef CULVERT_STATUS_MESSAGE_H
#define CULVERT_STATUS_MESSAGE_H

#include "status/server.h"

#include <stddef.h>
#include <stdint.h>

/* Decodes a Request (without its length). 0; or -EBADMSG with a sentence in error; or -ENOMEM. */
int status_message_get(const uint8_t *bytes, size_t len_bytes, struct status_query *ret, char error[STATUS_ERROR_BYTES]);

/* Makes the answer, its length before it, ready to be sent; the caller frees it. 0 or -ENOMEM. */
int status_message_put(const struct status_query *q, const struct snapshot *s, uint8_t **ret, size_t *ret_len_bytes);
int status_message_put_error(const char *code, const char *text, uint8_t **ret, size_t *ret_len_bytes);

#endif
