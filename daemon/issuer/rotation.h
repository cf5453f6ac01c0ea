/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rotation.h - the authorities of an issuer: which one signs, which are trusted, and how one takes the place of another without any node
 * meeting a certificate that it can not judge. Time and storage are the caller's, so that each step is one write of the whole.
 *
 *   one authority                                            -- asked for, or two thirds of its life are over -->
 *   a next one is made, trusted as soon as it is published   -- it has been published for trust_delay_s -->
 *   the next one signs, the old one is trusted, its key gone -- the last certificate that it signed has ended -->
 *   one authority
 *
 * A node takes the published authorities each time it gets a certificate. So with a delay no shorter than the life of a certificate
 * every node whose certificate is good trusts the next authority before that signs anything, whatever the node missed meanwhile.
 * Thread: one. */
#ifndef CULVERT_ISSUER_ROTATION_H
#define CULVERT_ISSUER_ROTATION_H

#include "tls/ca.h"
#include "tls/cert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ROTATION_ERROR_BYTES = CA_ERROR_BYTES + 64,
	/* A certificate may be signed so long after the switch: another issuer's knowledge may be so old, and clocks differ. */
	ROTATION_MARGIN_S = 120,
};

struct rotation_authority {
	char *cert, *key; /* PEM; NULL: none. The key is wiped when it is freed */
	char subject[CERT_SUBJECT_BYTES];
	int64_t not_before_s, not_after_s;
};

struct rotation {
	struct rotation_authority current, next, old; /* old has no key */
	int64_t next_since_s;                         /* Unix time since when next is published; 0: not known to be */
	int64_t old_until_s;                          /* Unix time until when old is trusted */
	int64_t longest_s;                            /* the longest life of a certificate that current has signed */
	bool is_asked;                                /* a rotation was asked for */
};

struct rotation_settings {
	int64_t certificate_lifetime_s, authority_lifetime_s;
	int64_t trust_delay_s; /* negative: as long as any certificate lives that is good now */
};
/* How long the next authority is trusted before it signs. */
int64_t rotation_trust_delay(const struct rotation *r, const struct rotation_settings *s);

enum rotation_step {
	ROTATION_STAY,
	ROTATION_LENGTHEN, /* note that certificates will live longer */
	ROTATION_BEGIN,    /* make the next authority */
	ROTATION_PUBLISHED,
	ROTATION_SWITCH, /* the next one signs from now on */
	ROTATION_FORGET, /* the old one is trusted no more */
	ROTATION_STEPS,
};
const char *rotation_step_name(enum rotation_step step);

/* The first authority. 0, -EIO or -ENOMEM with *ret untouched. */
int rotation_first(const struct rotation_settings *s, int64_t now_s, struct rotation *ret);
void rotation_done(struct rotation *r); /* of one that was filled, or zeroed */

/* The step that is due. is_published: what rotation_bundle says is what nodes are told. */
enum rotation_step rotation_due(const struct rotation *r, const struct rotation_settings *s, int64_t now_s, bool is_published);
/* A copy of r after that step, which must be due. 0, -EIO or -ENOMEM with *ret untouched. */
int rotation_take(const struct rotation *r, enum rotation_step step, const struct rotation_settings *s, int64_t now_s,
                  struct rotation *ret);

/* All authorities that nodes must trust now, the signing one first, as one PEM text. 0 or -ENOMEM. */
int rotation_bundle(const struct rotation *r, char **ret);

/* When a certificate that is signed now ends: after asked_s (0: not said) or what the settings say, and no later than the authority.
 * 0: the authority can sign none. */
int64_t rotation_leaf_end(const struct rotation *r, const struct rotation_settings *s, int64_t now_s, int64_t asked_s);

/* The stored form: texts under keys. Every key is always given: an empty text means that it is to be taken out. */
enum rotation_key {
	ROTATION_CURRENT_CERT,
	ROTATION_CURRENT_KEY,
	ROTATION_NEXT_CERT,
	ROTATION_NEXT_KEY,
	ROTATION_NEXT_SINCE,
	ROTATION_OLD_CERT,
	ROTATION_OLD_UNTIL,
	ROTATION_LONGEST,
	ROTATION_ASKED,
	ROTATION_KEYS,
};
const char *rotation_key_name(enum rotation_key key);
struct rotation_stored {
	const char *texts[ROTATION_KEYS]; /* point into the rotation, or into numbers */
	char numbers[ROTATION_KEYS][24];
};
void rotation_store(const struct rotation *r, struct rotation_stored *ret);
/* The reverse: texts may be NULL or empty. 0; -EINVAL with a sentence that names the key; -ENOMEM; with *ret untouched. */
int rotation_load(const char *const texts[ROTATION_KEYS], struct rotation *ret, char error[ROTATION_ERROR_BYTES]);

#endif
