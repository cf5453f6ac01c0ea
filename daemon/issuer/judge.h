/* SPDX-License-Identifier: GPL-3.0-or-later */
/* judge.h - whether a request for a certificate is right: who asks, from which pod, and for which name. Everything that it relies on is the
 * API server's own word (who made the request, with which token, and where that pod runs) or is proved by the request's signature; nothing
 * that the request merely says counts. Plain functions; any thread. */
#ifndef CULVERT_ISSUER_JUDGE_H
#define CULVERT_ISSUER_JUDGE_H

#include "cluster/name.h"
#include "cluster/object.h"
#include "tls/csr.h"

enum {
	JUDGE_TEXT_BYTES = 1024,
	JUDGE_NAME_BYTES = 254, /* of objects in the API: 253 */
	JUDGE_UID_BYTES = 64,
};

struct judge_settings {
	const char *name_space, *account; /* the daemons' */
	const struct name_template *name; /* what a node is called; never shared */
};

/* Why a request is denied; the word is the condition's reason, and the counter's name. */
enum judge_reason {
	JUDGE_GOOD,
	JUDGE_WRONG_REQUESTER, /* another user than the daemons' account */
	JUDGE_UNBOUND_TOKEN,   /* the token says no pod */
	JUDGE_BAD_REQUEST,     /* the PKCS#10 request itself */
	JUDGE_WRONG_USAGES,
	JUDGE_POD_GONE,
	JUDGE_POD_REPLACED, /* another pod has that name now */
	JUDGE_POD_ENDED,    /* it has ended, or is being deleted */
	JUDGE_POD_NOWHERE,  /* it runs on no node yet */
	JUDGE_WRONG_ACCOUNT,
	JUDGE_WRONG_NODE, /* the token was given out on another node */
	JUDGE_WRONG_NAME,
	JUDGE_REASONS,
};
const char *judge_reason_word(enum judge_reason reason);

struct judge_refusal {
	enum judge_reason reason;
	char text[JUDGE_TEXT_BYTES]; /* a sentence: what was found, what would be right */
};

/* What a request that is right so far claims, to be held against its pod. */
struct judge_claim {
	struct csr csr;
	char pod[JUDGE_NAME_BYTES], pod_uid[JUDGE_UID_BYTES];
	char token_node[JUDGE_NAME_BYTES]; /* from Kubernetes 1.32 on; "": not said */
};

/* All that can be judged of the request alone. True and *ret_claim set; or false and *ret_refusal set. */
bool judge_request(const struct judge_settings *s, const struct object_request *r, struct judge_claim *ret_claim,
                   struct judge_refusal *ret_refusal);
/* Holds the claim against the pod of its name, as the API has it now; NULL: there is none. True: the certificate may be signed, for the node
 * pod->node. */
bool judge_pod(const struct judge_settings *s, const struct judge_claim *claim, const struct object_pod *pod,
               struct judge_refusal *ret_refusal);

#endif
