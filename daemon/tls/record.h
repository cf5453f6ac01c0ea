/* SPDX-License-Identifier: GPL-3.0-or-later */
/* record.h - record protection of one direction of TLS 1.3: its keys (RFC 8446, 7.2 and 7.3), the numbers of its records (5.3), sealing and
 * opening whole records in place (5.2 and 5.4).
 * It knows nothing of sessions, alerts or what messages say. Not used after an error but to be stopped.
 * For this folder only. Thread: that of the session. */
#ifndef CULVERT_TLS_RECORD_H
#define CULVERT_TLS_RECORD_H

#include "tls/aead.h"

enum { RECORD_SECRET_MAX = 48, RECORD_INNER_MAX = 16384 + 1 /* content, type and padding: RFC 8446, 5.4 */ };

/* RFC 8446, 5.1 */
enum record_type { RECORD_CHANGE_CIPHER_SPEC = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

struct record_keys {
	struct aead *aead;                 /* NULL: not started */
	uint64_t next;                     /* the number of the next record of this key */
	uint8_t iv[AEAD_NONCE_BYTES];      /* of this key */
	uint8_t secret[RECORD_SECRET_MAX]; /* this key's, from which the next one is made */
	uint8_t secret_bytes;              /* 32 or 48: the length of the suite's hash */
	enum aead_cipher cipher;
};

/* The cipher of a suite (RFC 8446, B.4) and the length of its secrets. false: not one of ours. */
bool record_suite(unsigned suite, enum aead_cipher *ret_cipher, size_t *ret_secret_bytes);

/* Begins with the first application traffic secret (not kept by reference). 0, -ENOMEM or -EIO. */
int record_start(struct record_keys *k, enum aead_cipher cipher, const uint8_t *secret, size_t secret_bytes);
/* Goes on to the next secret and key, and forgets the last. 0 or -EIO. */
int record_renew(struct record_keys *k);
void record_stop(struct record_keys *k); /* wipes all; welcome when not started */

/* len_bytes (0..16384) of content lie behind the head; afterwards the record is TLS_HEAD_BYTES + len_bytes + TLS_TAIL_BYTES bytes. 0, -EIO,
 * or -EOVERFLOW: no number is left. */
int record_seal(struct record_keys *k, enum record_type type, uint8_t *record, size_t len_bytes);

/* Opens a record whose body_bytes, more than AEAD_TAG_BYTES and at most AEAD_TEXT_MAX, lie behind its head. The content is *ret_len bytes behind
 * the head, *ret_type its type: any but 0.
 * 0; -EBADMSG: forged; -EMSGSIZE: more content than is allowed; -EPROTO: no type; -EOVERFLOW; -EIO. */
int record_open(struct record_keys *k, uint8_t *record, size_t body_bytes, unsigned *ret_type, size_t *ret_len);

#endif
