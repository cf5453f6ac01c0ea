/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cred.h - the node's certificates: read a folder of PEM files, check all of it, make a context.
 * Files: tls.crt (leaf first, then intermediates), tls.key, ca.crt (one or more authorities), optionally crl.pem; or one bundle tls.pem
 * with the key first in the place of tls.crt and tls.key. They are read through ONE open handle of the folder behind ..data (Kubernetes
 * swaps that link), so that key and certificate are of one generation. Keys are wiped on free.
 * Thread: main only; a finished context goes to workers. */
#ifndef CULVERT_TLS_CRED_H
#define CULVERT_TLS_CRED_H

#include "tls/tls.h"

enum { CRED_ERROR_BYTES = 512, CRED_AUTHORITIES_MAX = 16 };

struct cred_info {
	/* What peers see of us: not_after_s is the first end among our certificate, its chain and its authority. */
	struct tls_peer self;
	int64_t not_before_s;
	uint32_t authorities_count;
	struct {
		char subject[128];
		int64_t not_after_s;
	} authorities[CRED_AUTHORITIES_MAX];
	bool has_crl;
	uint8_t digest[32]; /* over all the files: tells whether anything changed */
};

/* Loads and checks directory. expected: the name that our own certificate must have, byte for byte, or NULL for any. Each fault has a
 * sentence of its own in error, with the file, what was found and what would be right: missing, empty or cut file, key that does not match,
 * expired, not yet valid, not signed by ca.crt, other name, wildcard, a missing usage.
 * 0 and both outputs set, or -EINVAL (the files), -ENOMEM, other -errno (reading) with error set. */
int cred_load(const char *directory, const struct tls_name *expected, struct tls_ctx **ret_ctx, struct cred_info *ret_info,
              char error[CRED_ERROR_BYTES]);

/* Watches a folder for changes of any of the ways: a file written, renamed over, or ..data swapped; the folder itself taken away, replaced
 * or not yet there. The folder above it must be there and stay. */
struct cred_watch;
int cred_watch_create(const char *directory, struct cred_watch **ret); /* 0 or -errno */
void cred_watch_destroy(struct cred_watch *w);
int cred_watch_fd(const struct cred_watch *w); /* readable where something may have changed */
/* Takes the events and renews lost watches. Whether any of them was about the folder: then the caller loads again a little later. */
bool cred_watch_drain(struct cred_watch *w);

#endif
