/* SPDX-License-Identifier: GPL-3.0-or-later */
/* inside.h - the running issuer's inside, which its files share: issuer.c says what is next and carries it out call by call, authority.c has
 * what concerns the Secret and the ConfigMap, requests.c the requests, state.c what is shown.
 * For this folder only. Thread: one. */
#ifndef CULVERT_ISSUER_INSIDE_H
#define CULVERT_ISSUER_INSIDE_H

#include "base/log.h"
#include "issuer/docket.h"
#include "issuer/issuer.h"
#include "issuer/store.h"
#include "kube/reflector.h"
#include "tls/signer.h"

enum { ISSUER_PATH_BYTES = 1024, ISSUER_CALL_TIMEOUT_MS = 15000 };

#define ISSUER_JSON        "application/json"
#define ISSUER_JSON_PATCH  "application/json-patch+json"
#define ISSUER_MERGE_PATCH "application/merge-patch+json"

struct issuer {
	const struct issuer_settings *s;
	struct judge_settings judge;
	struct loop *loop;
	struct kube_client *client;
	struct message *message;
	struct reflector *reflector;
	struct docket docket;

	/* The one call that is under way, and what becomes of its answer. */
	struct kube_call *call;
	void (*then)(struct issuer *i, const struct kube_answer *a);
	/* The request that the call is about. Its case may go meanwhile: a watch can tell of our own change before the answer does. */
	char subject[JUDGE_NAME_BYTES], subject_node[JUDGE_NAME_BYTES];
	struct judge_refusal refusal;
	enum rotation_step step;
	struct rotation changed; /* what is in force when the call has gone well */

	struct loop_timer timer;
	unsigned failures; /* one after the other */
	bool is_waiting;   /* for the timer, after a failure */
	bool is_starting;  /* the owner is not known yet */

	struct store_owner owner;
	bool is_secret_known, has_rotation; /* known: read, and young enough unless secret_at says otherwise */
	struct instant secret_at;
	char secret_version[STORE_VERSION_BYTES];
	struct rotation rotation;
	struct signer *signer; /* of rotation.current */
	bool is_bundle_known, has_bundle;
	struct instant bundle_at;
	char bundle_version[STORE_VERSION_BYTES];
	char *bundle; /* what the ConfigMap holds */

	int64_t started_s;
	uint64_t signed_count, denied[JUDGE_REASONS];
	char trouble[STORE_ERROR_BYTES + 256]; /* why it does not go on; "": it does */
	struct log_limit denied_log;
};

/* --- issuer.c --- */

/* Everything waits a little, longer each time, and then begins with reading again. Says why, once. */
__attribute__((format(printf, 2, 3))) void issuer_in_trouble(struct issuer *i, const char *format, ...);
/* The same for an answer that is no success. */
void issuer_answer_trouble(struct issuer *i, const char *what, const struct kube_answer *a);
void issuer_out_of_trouble(struct issuer *i);
bool issuer_is_good(const struct kube_answer *a);

/* Sends; then is called with the answer, and after it what is next. body may be NULL; it is given back. */
void issuer_call(struct issuer *i, const char *method, const char *path, const char *content_type, struct body *body,
                 void (*then)(struct issuer *i, const struct kube_answer *a));
/* Of an object in the namespace; name "": the place where such objects are made. Returns ret. */
const char *issuer_path(const struct issuer *i, const char *plural, const char *name, char ret[ISSUER_PATH_BYTES]);
void issuer_go_on(struct issuer *i);

/* --- authority.c: answers to reading, and what is written --- */

void issuer_owner_read(struct issuer *i, const struct kube_answer *a);
void issuer_secret_read(struct issuer *i, const struct kube_answer *a);
void issuer_make_secret(struct issuer *i);
void issuer_take_step(struct issuer *i, enum rotation_step step);
void issuer_bundle_read(struct issuer *i, const struct kube_answer *a);
void issuer_write_bundle(struct issuer *i, const char *wanted);

/* --- requests.c --- */

int issuer_start_requests(struct issuer *i); /* begins to follow them. 0 or -errno */
/* The next thing that the first request needs. */
void issuer_answer_request(struct issuer *i, struct docket_case *c);

#endif
