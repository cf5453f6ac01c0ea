/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docket.h - the requests that wait for an answer, the oldest first, each judged as far as the request alone goes.
 * Thread: one. */
#ifndef CULVERT_ISSUER_DOCKET_H
#define CULVERT_ISSUER_DOCKET_H

#include "base/list.h"
#include "issuer/judge.h"
#include "issuer/store.h"

enum {
	DOCKET_MAX = 16384, /* 5,000 nodes that come back at once, three times */
	DOCKET_TRIES = 8,   /* of one request that keeps changing under our hands; the next change of it begins anew */
};

struct docket_case {
	struct list link;
	char name[JUDGE_NAME_BYTES], version[STORE_VERSION_BYTES];
	bool is_approved;   /* by us before, or by somebody else */
	int32_t lifetime_s; /* asked for; 0: not said */
	unsigned tries;
	struct judge_claim claim;      /* where refusal is good so far */
	struct judge_refusal *refusal; /* NULL: right so far; owned */
	char node[JUDGE_NAME_BYTES];   /* once its pod is known */
};

struct docket {
	struct list cases;
	size_t count;
	bool is_overflown; /* one did not fit; the caller clears it when it has seen to it */
};

void docket_init(struct docket *d);
void docket_done(struct docket *d);

/* Notes what the API says of a request: it waits, or has its answer, or is none of ours. 0 or -ENOMEM. */
int docket_put(struct docket *d, const struct judge_settings *s, const char *signer, const struct object_request *r);
void docket_remove(struct docket *d, const char *name);
/* It could not be answered now: all others have their turn before it is tried again. */
void docket_defer(struct docket *d, const char *name);
struct docket_case *docket_first(const struct docket *d); /* NULL: none waits */

/* Judges a case against its pod (NULL: there is none). Whether it may be signed: then its node is set, else its refusal. */
int docket_judge_pod(struct docket_case *c, const struct judge_settings *s, const struct object_pod *pod); /* 0 or -ENOMEM */

#endif
