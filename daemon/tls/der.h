/* SPDX-License-Identifier: GPL-3.0-or-later */
/* der.h - DER (X.690), written from the end of a buffer to its front: what is inside comes before its tag and length, so that every length
 * is known; and read element by element, never beyond the bytes that are there.
 * Plain functions; any thread. */
#ifndef CULVERT_TLS_DER_H
#define CULVERT_TLS_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct der {
	uint8_t *bytes; /* borrowed */
	size_t cap_bytes;
	size_t at;    /* the front of what was written; cap_bytes at first */
	bool is_full; /* something did not fit: what is there is not whole */
};

enum { DER_TIME_BYTES = 32 };

size_t der_len(const struct der *d);
void der_put(struct der *d, const void *bytes, size_t len_bytes);
/* Puts tag and length before what was written since the buffer held before_bytes. */
void der_wrap(struct der *d, uint8_t tag, size_t before_bytes);
void der_put_value(struct der *d, uint8_t tag, const void *bytes, size_t len_bytes);
/* big: an unsigned number, most significant byte first. */
void der_put_integer(struct der *d, const uint8_t *big, size_t len_bytes);
/* A time of the years 1970 to 9999 to ret: UTCTime up to 2049, then GeneralizedTime (RFC 5280, 4.1.2.5). Returns its whole length: tag,
 * length, digits. */
size_t der_time(int64_t time_s, uint8_t ret[DER_TIME_BYTES]);

/* What is left of the inside of one element. */
struct der_reader {
	const uint8_t *at;
	size_t left;
};

struct der_element {
	uint8_t tag;
	const uint8_t *whole, *content; /* point into what is read */
	size_t whole_len_bytes, content_len_bytes;
};

enum { DER_SEQUENCE = 0x30, DER_SET = 0x31, DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_OCTET_STRING = 0x04, DER_OID = 0x06 };

/* Takes the next element. false: none, one that goes beyond the end, or one of undefined length. */
bool der_take(struct der_reader *r, struct der_element *ret);
/* Takes the next element, which must have this tag, and reads its inside. */
bool der_enter(struct der_reader *r, uint8_t tag, struct der_reader *ret);

#endif
