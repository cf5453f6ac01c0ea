/* SPDX-License-Identifier: GPL-3.0-or-later */
/* late.h - handshake messages that come after the handshake (RFC 8446, 4.6): key updates are found, tickets are passed over, whatever else
 * there is is refused. A message may begin in one record and end in another.
 * It knows nothing of keys or alerts. For this folder only. Thread: that of the session. */
#ifndef CULVERT_TLS_LATE_H
#define CULVERT_TLS_LATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LATE_HEAD_BYTES = 4,
	LATE_KEY_UPDATE_TYPE = 24,
	/* lifetime, age, nonce, ticket and extensions at their longest (RFC 8446, 4.6.1) */
	LATE_TICKET_MAX = 4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65534,
};

struct late {
	uint8_t head[LATE_HEAD_BYTES]; /* of the message that is under way */
	uint8_t head_bytes;            /* how much of it has come; 0: none is under way */
	uint32_t left;                 /* of its body */
};

enum late_result {
	LATE_NOTHING,              /* all of it was passed over */
	LATE_KEY_UPDATE,           /* the peer's next record has new keys */
	LATE_KEY_UPDATE_REQUESTED, /* and it asks for ours */
	LATE_UNEXPECTED,           /* a message that has no place here, or something behind a key update in its record */
	LATE_UNDECODABLE,          /* its length is wrong */
	LATE_ILLEGAL,              /* a key update that says neither */
};

/* Takes the content of one record: 1 byte or more. takes_tickets: the peer is the server. Not used after the last three results. */
enum late_result late_take(struct late *l, const uint8_t *bytes, size_t len_bytes, bool takes_tickets);
/* Whether a message has begun and not ended: then no other kind of record may come (RFC 8446, 5.1). */
bool late_is_cut(const struct late *l);

#endif
