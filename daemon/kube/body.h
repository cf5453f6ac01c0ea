/* SPDX-License-Identifier: GPL-3.0-or-later */
/* body.h - the body of a request to the API server, as JSON that is put together piece by piece, or of its answer as it comes. It may hold
 * keys: its memory is wiped before it is given back. Plain data; one thread at a time. */
#ifndef CULVERT_KUBE_BODY_H
#define CULVERT_KUBE_BODY_H

#include <stdbool.h>
#include <stddef.h>

/* Begins zeroed. */
struct body {
	char *text; /* ends with a NUL that is not counted; NULL: nothing was put */
	size_t len_bytes, cap_bytes;
	bool is_broken; /* memory ran out: what is there is not whole */
};

void body_append(struct body *b, const void *bytes, size_t len_bytes); /* as they are */
void body_put(struct body *b, const char *json);                       /* as it is */
/* A text with its quotes (RFC 8259, 7). What is not ASCII becomes a question mark: nothing that we send needs it. */
void body_put_text(struct body *b, const char *text);
void body_put_base64(struct body *b, const void *bytes, size_t len_bytes); /* with its quotes */
void body_done(struct body *b);

#endif
