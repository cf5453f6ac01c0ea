/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tls_pair.h - two TLS sessions over a socket pair, and contexts with certificates that cred_load would refuse. */
#ifndef CULVERT_TESTS_TLS_PAIR_H
#define CULVERT_TESTS_TLS_PAIR_H

#include "tls/ca.h"
#include "tls/tls.h"

struct tls_pair {
	int fds[2];
	struct tls_session *client, *server;
	enum tls_result client_result, server_result;
};

/* Begins both; ends the test where that fails. */
void tls_pair_create(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server);
/* Goes on with both handshakes until each has ended, or waits with nothing under way. */
void tls_pair_shake(struct tls_pair *p);
/* Both of the above, and both must succeed. */
void tls_pair_open(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server);
void tls_pair_destroy(struct tls_pair *p);

/* Seals text at from and opens it at to; it must arrive as it was. */
void tls_pair_carry(struct tls_session *from, struct tls_session *to, const char *text);
/* Hands from's control bytes to to, record by record; each must open to no data. Returns how many records there were. */
size_t tls_pair_carry_control(struct tls_session *from, struct tls_session *to);

/* A context of the files in dir (tls.crt, tls.key) that trusts the authorities in ca_file and has the lists of crl_file (NULL: none).
 * Nothing is judged. */
struct tls_ctx *tls_ctx_unjudged(const char *dir, const char *ca_file, const char *crl_file);

/* A certificate by the authority of pki_get() in a folder of its own below it, named name; the folder's path in dir. */
enum { TLS_DIR_BYTES = 192 };
void tls_issue(const char *name, const struct ca_leaf *leaf, char dir[TLS_DIR_BYTES]);
/* A leaf of node1 that is right. */
struct ca_leaf tls_leaf(void);

#endif
