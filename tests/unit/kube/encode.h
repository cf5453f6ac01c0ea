/* SPDX-License-Identifier: GPL-3.0-or-later */
/* encode.h - answers of the API server, made by hand: protobuf fields one after the other, and the envelopes around them. */
#ifndef CULVERT_TESTS_UNIT_KUBE_ENCODE_H
#define CULVERT_TESTS_UNIT_KUBE_ENCODE_H

#include <stddef.h>
#include <stdint.h>

/* All zero is empty. */
struct bytes {
	uint8_t *data;
	size_t len, cap;
};

void bytes_done(struct bytes *b);
void bytes_clear(struct bytes *b); /* keeps the memory */
void put_raw(struct bytes *b, const void *data, size_t len);
void put_varint(struct bytes *b, uint64_t value);
void put_number(struct bytes *b, unsigned field, uint64_t value);
void put_text(struct bytes *b, unsigned field, const char *text);
void put_bytes(struct bytes *b, unsigned field, const void *data, size_t len);
void put_message(struct bytes *b, unsigned field, struct bytes *m); /* m is empty afterwards */
void put_entry(struct bytes *b, unsigned field, const char *key, const char *value);

/* metadata of an object, as its field 1. */
void put_meta(struct bytes *b, const char *name_space, const char *name, const char *uid, const char *version);
/* A running pod with one address. */
void put_pod(struct bytes *b, const char *name, const char *version, const char *node, const char *address);

/* "k8s" NUL and runtime.Unknown around object, which is empty afterwards. */
void put_envelope(struct bytes *b, const char *api_version, const char *kind, struct bytes *object);
/* An event of a watch, with its length before it. */
void put_event(struct bytes *b, const char *type, const char *kind, struct bytes *object);
void put_status(struct bytes *b, unsigned code, const char *reason, const char *text);

#endif
