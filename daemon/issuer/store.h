/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store.h - the forms in which the issuer's state lies in the API: a Secret with the authorities, a ConfigMap with what nodes trust, and what
 * is written into a request for a certificate. Bodies and answers only; sending is issuer's.
 * Every change names the version that it was made from, so that of two writers one is told that it lost. Plain functions; one thread. */
#ifndef CULVERT_ISSUER_STORE_H
#define CULVERT_ISSUER_STORE_H

#include "issuer/judge.h"
#include "issuer/rotation.h"
#include "kube/body.h"
#include "kube/message.h"

enum { STORE_VERSION_BYTES = 128, STORE_UID_BYTES = 64, STORE_ERROR_BYTES = ROTATION_ERROR_BYTES + 256 };

/* The key of the ConfigMap. */
#define STORE_BUNDLE_KEY "ca.crt"

/* Whose end is the end of what is made: a service account; uid "": nobody's. */
struct store_owner {
	const char *account;
	char uid[STORE_UID_BYTES];
};

void store_secret_new(struct body *b, const char *name, const struct store_owner *owner, const struct rotation *r);
void store_secret_change(struct body *b, const char *version, const struct rotation *r);
void store_secret_ask(struct body *b); /* a rotation, whatever the version is */
void store_bundle_new(struct body *b, const char *name, const struct store_owner *owner, const char *bundle);
void store_bundle_change(struct body *b, const char *version, const char *bundle);

/* JSON patches of a request (RFC 6902): they fail where it has changed since. */
void store_request_approve(struct body *b, const char *version, const char *node);
void store_request_deny(struct body *b, const char *version, const struct judge_refusal *refusal);
void store_request_fail(struct body *b, const char *version, const struct judge_refusal *refusal); /* one that somebody else approved */
void store_request_sign(struct body *b, const char *version, const char *certificate);

/* 0, with the object's version, and *ret_rotation to be given to rotation_done; or -errno with a sentence in error. */
int store_secret_read(struct message *m, const void *answer, size_t len_bytes, struct rotation *ret_rotation,
                      char ret_version[STORE_VERSION_BYTES], char error[STORE_ERROR_BYTES]);
/* 0 and *ret_bundle to be freed, "" where there is no such key. */
int store_bundle_read(struct message *m, const void *answer, size_t len_bytes, char **ret_bundle, char ret_version[STORE_VERSION_BYTES],
                      char error[STORE_ERROR_BYTES]);

#endif
