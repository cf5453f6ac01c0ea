/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/issuer.h"

#include "base/log.h"
#include "issuer/docket.h"
#include "issuer/store.h"
#include "kube/reflector.h"
#include "tls/signer.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
	CALL_TIMEOUT_MS = 15000,
	SECRET_FRESH_MS = 10000, /* another issuer may have changed it; shorter than ROTATION_MARGIN_S by far */
	BUNDLE_FRESH_MS = 60000, /* somebody may have changed it */
	RETRY_LEAST_MS = 500,
	RETRY_MOST_MS = 30000,
	PATH_BYTES = 1024,
	PAGE_ITEMS = 500,
};

#define REQUESTS_PATH "/apis/certificates.k8s.io/v1/certificatesigningrequests"

static_assert(SECRET_FRESH_MS < ROTATION_MARGIN_S * 1000 / 2, "what an issuer knows is younger than what the rotation allows for");

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

static void go_on(struct issuer *i);

/* --- trouble --- */

/* Everything waits a little, longer each time, and then begins with reading again. */
__attribute__((format(printf, 2, 3))) static void in_trouble(struct issuer *i, const char *format, ...)
{
	char text[sizeof(i->trouble)];
	uint32_t wait_ms = RETRY_LEAST_MS, random = 0;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (strcmp(text, i->trouble) != 0)
		log_warn("can not go on", L_TEXT("detail", text));
	memcpy(i->trouble, text, sizeof(text));
	for (unsigned n = 0; n < i->failures && wait_ms < RETRY_MOST_MS; n++)
		wait_ms *= 2;
	if (wait_ms > RETRY_MOST_MS)
		wait_ms = RETRY_MOST_MS;
	i->failures++;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = 0;
	i->is_secret_known = i->is_bundle_known = false;
	i->is_waiting = true;
	(void)loop_timer_set(i->loop, &i->timer, instant_add_ms(loop_now(i->loop), wait_ms / 2 + random % (wait_ms / 2 + 1)));
}

static void out_of_trouble(struct issuer *i)
{
	if (i->trouble[0])
		log_info("goes on");
	i->trouble[0] = '\0';
	i->failures = 0;
}

/* What of an answer that is no success: the API's own sentence names the right that is missing, or the webhook that refused. */
static void answer_trouble(struct issuer *i, const char *what, const struct kube_answer *a)
{
	if (a->error)
		in_trouble(i, "%s: the API server did not answer: %s", what, a->text);
	else if (a->status == 403)
		in_trouble(i, "%s: a right is missing: %s", what, a->text);
	else
		in_trouble(i, "%s: the API server answered %u: %s", what, a->status, a->text);
}

static bool is_good(const struct kube_answer *a)
{
	return !a->error && a->status >= 200 && a->status < 300;
}

/* --- calls --- */

static void on_done(void *ctx, const struct kube_answer *a)
{
	struct issuer *i = ctx;
	void (*then)(struct issuer * issuer, const struct kube_answer *answer) = i->then;

	i->call = NULL;
	i->then = NULL;
	then(i, a);
	go_on(i);
}

/* body may be NULL; it is given back. */
static void call(struct issuer *i, const char *method, const char *path, const char *content_type, struct body *body,
                 void (*then)(struct issuer *i, const struct kube_answer *a))
{
	static const struct kube_handler handler = { .on_done = on_done };
	struct kube_request request = {
		.method = method,
		.path = path,
		.content_type = content_type,
		.body = body ? body->text : NULL,
		.body_bytes = body ? body->len_bytes : 0,
		.timeout_ms = CALL_TIMEOUT_MS,
	};
	int r;

	i->then = then;
	r = body && body->is_broken ? -ENOMEM : kube_send(i->client, &request, &handler, i, &i->call);
	if (body)
		body_done(body);
	if (r) {
		i->call = NULL;
		in_trouble(i, "%s %s can not be sent: %s", method, path, strerror(-r));
	}
}

#define JSON        "application/json"
#define JSON_PATCH  "application/json-patch+json"
#define MERGE_PATCH "application/merge-patch+json"

/* name "": the place where such objects are made. */
static const char *path_of(const struct issuer *i, const char *plural, const char *name, char ret[PATH_BYTES])
{
	snprintf(ret, PATH_BYTES, "/api/v1/namespaces/%s/%s%s%s", i->s->name_space, plural, name[0] ? "/" : "", name);
	return ret;
}

/* --- the owner --- */

static void owner_read(struct issuer *i, const struct kube_answer *a)
{
	struct object_meta meta;

	if (!is_good(a)) {
		answer_trouble(i, "the service account of --owner-account can not be read", a);
		return;
	}
	if (message_answer_meta(i->message, a->body, a->body_bytes, &meta) || strlen(meta.uid) >= sizeof(i->owner.uid)) {
		in_trouble(i, "the service account %s can not be understood: %s", i->s->owner, message_error(i->message));
		return;
	}
	i->owner.account = i->s->owner;
	snprintf(i->owner.uid, sizeof(i->owner.uid), "%s", meta.uid);
	i->is_starting = false;
}

/* --- the Secret --- */

/* Takes r as what is in force. */
static int adopt(struct issuer *i, struct rotation *r)
{
	char error[CA_ERROR_BYTES];
	struct signer *signer;
	int e = signer_open(r->current.cert, r->current.key, &signer, error);

	if (e) {
		in_trouble(i, "the Secret %s/%s: %s", i->s->name_space, i->s->secret, error);
		rotation_done(r);
		return e;
	}
	signer_close(i->signer);
	rotation_done(&i->rotation);
	i->signer = signer;
	i->rotation = *r;
	*r = (struct rotation){ 0 };
	i->has_rotation = i->is_secret_known = true;
	i->secret_at = loop_now(i->loop);
	return 0;
}

static void secret_read(struct issuer *i, const struct kube_answer *a)
{
	char error[STORE_ERROR_BYTES];
	struct rotation r;

	if (!a->error && a->status == 404) {
		if (i->has_rotation)
			log_warn("the Secret of the authority is gone: a new authority will be made, and nodes must get new certificates",
			         L_TEXT("secret", i->s->secret));
		i->has_rotation = false;
		i->is_secret_known = true;
		return;
	}
	if (!is_good(a)) {
		answer_trouble(i, "the Secret of the authority can not be read", a);
		return;
	}
	if (store_secret_read(i->message, a->body, a->body_bytes, &r, i->secret_version, error)) {
		in_trouble(i, "the Secret %s/%s can not be used, and is left alone: %s. Mend it, or delete it for a new authority",
		           i->s->name_space, i->s->secret, error);
		return;
	}
	(void)adopt(i, &r);
}

static void secret_made(struct issuer *i, const struct kube_answer *a)
{
	/* Whoever came first: what is there now counts. */
	i->is_secret_known = false;
	if (is_good(a))
		log_info("made an authority", L_TEXT("subject", i->changed.current.subject),
		         L_I64("not_after_s", i->changed.current.not_after_s));
	else if (a->error || a->status != 409)
		answer_trouble(i, "the Secret of the authority can not be made", a);
	rotation_done(&i->changed);
}

static void make_secret(struct issuer *i)
{
	struct body b = { 0 };
	char path[PATH_BYTES];

	if (rotation_first(&i->s->rotation, time(NULL), &i->changed)) {
		in_trouble(i, "an authority can not be made");
		return;
	}
	store_secret_new(&b, i->s->secret, &i->owner, &i->changed);
	call(i, "POST", path_of(i, "secrets", "", path), JSON, &b, secret_made);
}

static void log_step(const struct issuer *i, enum rotation_step step)
{
	log_info("rotation", L_TEXT("step", rotation_step_name(step)), L_TEXT("signs", i->rotation.current.subject),
	         L_TEXT("next", i->rotation.next.cert ? i->rotation.next.subject : NULL),
	         L_TEXT("old", i->rotation.old.cert ? i->rotation.old.subject : NULL));
}

static void step_stored(struct issuer *i, const struct kube_answer *a)
{
	struct object_meta meta;

	if (!is_good(a)) {
		rotation_done(&i->changed);
		i->is_secret_known = false;
		if (a->error || a->status != 409) /* 409: another issuer was first */
			answer_trouble(i, "the Secret of the authority can not be changed", a);
		return;
	}
	if (message_answer_meta(i->message, a->body, a->body_bytes, &meta) || strlen(meta.version) >= sizeof(i->secret_version)) {
		rotation_done(&i->changed);
		i->is_secret_known = false; /* read again */
		return;
	}
	snprintf(i->secret_version, sizeof(i->secret_version), "%s", meta.version);
	if (adopt(i, &i->changed) == 0)
		log_step(i, i->step);
}

static void take_step(struct issuer *i, enum rotation_step step)
{
	struct body b = { 0 };
	char path[PATH_BYTES];

	if (rotation_take(&i->rotation, step, &i->s->rotation, time(NULL), &i->changed)) {
		in_trouble(i, "the rotation's step %s can not be taken", rotation_step_name(step));
		return;
	}
	i->step = step;
	store_secret_change(&b, i->secret_version, &i->changed);
	call(i, "PATCH", path_of(i, "secrets", i->s->secret, path), MERGE_PATCH, &b, step_stored);
}

/* --- the ConfigMap --- */

static void bundle_read(struct issuer *i, const struct kube_answer *a)
{
	char error[STORE_ERROR_BYTES];
	char *bundle;

	if (!a->error && a->status == 404) {
		i->has_bundle = false;
		i->is_bundle_known = true;
		i->bundle_at = loop_now(i->loop);
		return;
	}
	if (!is_good(a)) {
		answer_trouble(i, "the ConfigMap for the nodes can not be read", a);
		return;
	}
	if (store_bundle_read(i->message, a->body, a->body_bytes, &bundle, i->bundle_version, error)) {
		in_trouble(i, "the ConfigMap %s/%s can not be understood: %s", i->s->name_space, i->s->bundle, error);
		return;
	}
	free(i->bundle);
	i->bundle = bundle;
	i->has_bundle = i->is_bundle_known = true;
	i->bundle_at = loop_now(i->loop);
}

static void bundle_written(struct issuer *i, const struct kube_answer *a)
{
	i->is_bundle_known = false; /* what is there now counts */
	if (is_good(a))
		log_info("published the authorities", L_TEXT("configmap", i->s->bundle));
	else if (a->error || a->status != 409)
		answer_trouble(i, "the ConfigMap for the nodes can not be written", a);
}

static void write_bundle(struct issuer *i, const char *wanted)
{
	struct body b = { 0 };
	char path[PATH_BYTES];

	if (i->has_bundle) {
		store_bundle_change(&b, i->bundle_version, wanted);
		call(i, "PATCH", path_of(i, "configmaps", i->s->bundle, path), MERGE_PATCH, &b, bundle_written);
	} else {
		store_bundle_new(&b, i->s->bundle, &i->owner, wanted);
		call(i, "POST", path_of(i, "configmaps", "", path), JSON, &b, bundle_written);
	}
}

/* --- requests --- */

/* The case that the answer is about, or NULL where it has gone meanwhile. */
static struct docket_case *current_case(const struct issuer *i)
{
	struct docket_case *c = docket_first(&i->docket);

	return c && strcmp(c->name, i->subject) == 0 ? c : NULL;
}

static void request_read(struct issuer *i, const struct kube_answer *a)
{
	struct object o;

	if (!a->error && a->status == 404) {
		docket_remove(&i->docket, i->subject);
		return;
	}
	if (!is_good(a)) {
		answer_trouble(i, "a request can not be read", a);
		return;
	}
	if (message_answer_object(i->message, OBJECT_REQUEST, a->body, a->body_bytes, &o)) {
		log_warn("a request can not be understood", L_TEXT("request", i->subject), L_TEXT("detail", message_error(i->message)));
		docket_remove(&i->docket, i->subject);
		return;
	}
	(void)docket_put(&i->docket, &i->judge, i->s->signer, &o.request);
}

/* A change of a request failed. It went away, or was changed by another issuer or a person: it is looked at again. */
static void request_refused(struct issuer *i, const char *what, const struct kube_answer *a)
{
	struct docket_case *c = current_case(i);
	char path[PATH_BYTES];

	if (a->error || (a->status != 404 && a->status != 409 && a->status != 422)) {
		answer_trouble(i, what, a);
		return;
	}
	if (a->status == 404 || !c || ++c->tries > DOCKET_TRIES) {
		if (c && a->status != 404)
			log_warn("a request is left alone", L_TEXT("request", i->subject), L_TEXT("detail", a->text));
		docket_remove(&i->docket, i->subject);
		return;
	}
	c->version[0] = '\0'; /* so that it is taken again even where it has not changed */
	snprintf(path, sizeof(path), REQUESTS_PATH "/%s", i->subject);
	call(i, "GET", path, NULL, NULL, request_read);
}

static void request_denied(struct issuer *i, const struct kube_answer *a)
{
	uint32_t kept_back;

	if (!is_good(a)) {
		request_refused(i, "a request can not be denied", a);
		return;
	}
	i->denied[i->refusal.reason]++;
	if (log_limit_allow(&i->denied_log, loop_now(i->loop).ns, &kept_back))
		log_warn("denied", L_TEXT("request", i->subject), L_TEXT("reason", judge_reason_word(i->refusal.reason)),
		         L_TEXT("detail", i->refusal.text), L_U64("kept_back", kept_back));
	docket_remove(&i->docket, i->subject);
}

static void request_signed(struct issuer *i, const struct kube_answer *a)
{
	if (!is_good(a)) {
		request_refused(i, "a certificate can not be put into its request", a);
		return;
	}
	i->signed_count++;
	out_of_trouble(i);
	log_info("signed", L_TEXT("request", i->subject), L_TEXT("node", i->subject_node),
	         L_TEXT("authority", i->rotation.current.subject));
	docket_remove(&i->docket, i->subject);
}

static void request_approved(struct issuer *i, const struct kube_answer *a)
{
	struct docket_case *c = current_case(i);
	struct object_meta meta;

	if (!is_good(a)) {
		request_refused(i, "a request can not be approved", a);
		return;
	}
	if (!c)
		return;
	if (message_answer_meta(i->message, a->body, a->body_bytes, &meta) || strlen(meta.version) >= sizeof(c->version)) {
		docket_remove(&i->docket, i->subject);
		return;
	}
	snprintf(c->version, sizeof(c->version), "%s", meta.version);
	c->is_approved = true;
}

static void pod_read(struct issuer *i, const struct kube_answer *a)
{
	bool is_gone = !a->error && a->status == 404;
	struct docket_case *c = current_case(i);
	struct object o;

	if (!is_gone && !is_good(a)) {
		answer_trouble(i, "the pod of a request can not be read", a);
		return;
	}
	if (!is_gone && message_answer_object(i->message, OBJECT_POD, a->body, a->body_bytes, &o)) {
		in_trouble(i, "the pod of the request %s can not be understood: %s", i->subject, message_error(i->message));
		return;
	}
	if (c && docket_judge_pod(c, &i->judge, is_gone ? NULL : &o.pod))
		in_trouble(i, "out of memory");
}

/* Signs the case that was judged to be right. */
static void sign(struct issuer *i, struct docket_case *c, const char *path)
{
	int64_t now_s = time(NULL), end_s = rotation_leaf_end(&i->rotation, &i->s->rotation, now_s, c->lifetime_s);
	struct pem_text certificate = { 0 };
	char error[CA_ERROR_BYTES] = "";
	struct body b = { 0 };

	if (!end_s) {
		in_trouble(i, "the authority %s has ended: a new one takes over", i->rotation.current.subject);
		return;
	}
	if (signer_sign(i->signer, &c->claim.csr, c->node, now_s - CA_CLOCK_SKEW_S, end_s, &certificate, error)) {
		in_trouble(i, "%s", error);
		return;
	}
	store_request_sign(&b, c->version, certificate.text);
	pem_free(&certificate);
	call(i, "PATCH", path, JSON_PATCH, &b, request_signed);
}

/* The next thing that the first request needs. */
static void answer_request(struct issuer *i, struct docket_case *c)
{
	char path[PATH_BYTES];
	struct body b = { 0 };

	memcpy(i->subject, c->name, sizeof(i->subject));
	memcpy(i->subject_node, c->node, sizeof(i->subject_node));
	if (c->refusal)
		i->refusal = *c->refusal;
	if (c->refusal && c->is_approved) {
		/* Somebody else approved it. That is no reason to sign. */
		snprintf(path, sizeof(path), REQUESTS_PATH "/%s/status", c->name);
		store_request_fail(&b, c->version, c->refusal);
		call(i, "PATCH", path, JSON_PATCH, &b, request_denied);
	} else if (c->refusal) {
		snprintf(path, sizeof(path), REQUESTS_PATH "/%s/approval", c->name);
		store_request_deny(&b, c->version, c->refusal);
		call(i, "PATCH", path, JSON_PATCH, &b, request_denied);
	} else if (!c->node[0]) {
		call(i, "GET", path_of(i, "pods", c->claim.pod, path), NULL, NULL, pod_read);
	} else if (!c->is_approved) {
		snprintf(path, sizeof(path), REQUESTS_PATH "/%s/approval", c->name);
		store_request_approve(&b, c->version, c->node);
		call(i, "PATCH", path, JSON_PATCH, &b, request_approved);
	} else {
		snprintf(path, sizeof(path), REQUESTS_PATH "/%s/status", c->name);
		sign(i, c, path);
	}
}

static void on_put(void *ctx, const struct object *o)
{
	struct issuer *i = ctx;

	if (docket_put(&i->docket, &i->judge, i->s->signer, &o->request))
		log_warn("a request is left alone: out of memory", L_TEXT("request", o->meta.name));
	go_on(i);
}

static void on_gone(void *ctx, enum object_kind kind, const struct object_meta *m)
{
	struct issuer *i = ctx;

	(void)kind;
	docket_remove(&i->docket, m->name);
}

static void on_list(void *ctx, enum object_kind kind)
{
	(void)ctx;
	(void)kind;
}

static void on_reflector_state(void *ctx, enum object_kind kind)
{
	struct issuer *i = ctx;
	struct reflector_state state;

	(void)kind;
	reflector_state(i->reflector, &state);
	if (state.error[0])
		log_warn("requests are not seen as they come", L_TEXT("detail", state.error));
}

static int start_reflector(struct issuer *i)
{
	static const struct reflector_ops ops = {
		.list_began = on_list, .put = on_put, .gone = on_gone, .list_ended = on_list, .state_changed = on_reflector_state
	};
	char selector[PATH_BYTES];
	struct reflector_settings s = { .kind = OBJECT_REQUEST, .path = REQUESTS_PATH, .selector = selector, .page_items = PAGE_ITEMS };
	size_t at;

	/* The one character of a signer's name that a query can not have as it is. */
	at = (size_t)snprintf(selector, sizeof(selector), "fieldSelector=spec.signerName%%3D");
	for (const char *p = i->s->signer; *p && at + 4 < sizeof(selector); p++)
		at += (size_t)snprintf(selector + at, sizeof(selector) - at, *p == '/' ? "%%2F" : "%c", *p);
	if (getrandom(&s.seed, sizeof(s.seed), 0) != sizeof(s.seed))
		return -EIO;
	return reflector_create(i->loop, i->client, &s, &ops, i, &i->reflector);
}

/* --- what is next --- */

static bool is_fresh(const struct issuer *i, struct instant since, uint64_t for_ms)
{
	return instant_elapsed_ns(since, loop_now(i->loop)) < for_ms * NS_PER_MS;
}

static void read_object(struct issuer *i, const char *plural, const char *name, void (*then)(struct issuer *i, const struct kube_answer *a))
{
	char path[PATH_BYTES];

	call(i, "GET", path_of(i, plural, name, path), NULL, NULL, then);
}

/* Nothing is to do: the timer wakes it when what it knows grows old. */
static void rest(struct issuer *i)
{
	out_of_trouble(i);
	(void)loop_timer_set(i->loop, &i->timer,
	                     i->docket.is_overflown ? loop_now(i->loop) : instant_add_ms(i->secret_at, SECRET_FRESH_MS));
}

/* One step; each answer calls it again. */
static void go_on(struct issuer *i)
{
	struct docket_case *c = docket_first(&i->docket);
	enum rotation_step step;
	char *wanted;
	bool is_published;

	if (i->call || i->is_waiting)
		return;
	if (i->is_starting && i->s->owner[0]) {
		read_object(i, "serviceaccounts", i->s->owner, owner_read);
		return;
	}
	if (!i->is_secret_known || (i->has_rotation && !is_fresh(i, i->secret_at, SECRET_FRESH_MS))) {
		read_object(i, "secrets", i->s->secret, secret_read);
		return;
	}
	if (!i->has_rotation) {
		make_secret(i);
		return;
	}
	if (!i->is_bundle_known || !is_fresh(i, i->bundle_at, BUNDLE_FRESH_MS)) {
		read_object(i, "configmaps", i->s->bundle, bundle_read);
		return;
	}
	if (rotation_bundle(&i->rotation, &wanted)) {
		in_trouble(i, "out of memory");
		return;
	}
	is_published = i->has_bundle && strcmp(i->bundle, wanted) == 0;
	if (!is_published)
		write_bundle(i, wanted);
	free(wanted);
	if (!is_published)
		return;
	step = rotation_due(&i->rotation, &i->s->rotation, time(NULL), true);
	if (step != ROTATION_STAY)
		take_step(i, step);
	else if (c)
		answer_request(i, c);
	else
		rest(i);
}

static void on_timer(struct loop_timer *t)
{
	struct issuer *i = container_of(t, struct issuer, timer);

	i->is_waiting = false;
	if (i->docket.is_overflown && !docket_first(&i->docket)) {
		/* Those that did not fit come again with a new list. */
		i->docket.is_overflown = false;
		reflector_destroy(i->reflector);
		i->reflector = NULL;
		if (start_reflector(i)) {
			i->docket.is_overflown = true;
			in_trouble(i, "requests can not be listed again");
			return;
		}
	}
	go_on(i);
}

/* --- life --- */

int issuer_create(struct loop *loop, struct kube_client *client, const struct issuer_settings *s, struct issuer **ret)
{
	struct issuer *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->s = s;
	i->loop = loop;
	i->client = client;
	i->judge = (struct judge_settings){ .name_space = s->name_space, .account = s->account, .name = &s->name };
	i->timer.on_expire = on_timer;
	i->is_starting = true;
	i->started_s = time(NULL);
	i->denied_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 20 };
	docket_init(&i->docket);
	r = message_create(&i->message);
	if (!r)
		r = start_reflector(i);
	if (!r)
		r = loop_timer_set(loop, &i->timer, loop_now(loop));
	if (r) {
		issuer_destroy(i);
		return r;
	}
	*ret = i;
	return 0;
}

void issuer_destroy(struct issuer *i)
{
	if (!i)
		return;
	kube_cancel(i->call);
	loop_timer_clear(i->loop, &i->timer);
	reflector_destroy(i->reflector);
	docket_done(&i->docket);
	rotation_done(&i->changed);
	rotation_done(&i->rotation);
	signer_close(i->signer);
	free(i->bundle);
	message_destroy(i->message);
	free(i);
}

/* --- state --- */

struct text_out {
	char *text;
	size_t at;
};

__attribute__((format(printf, 2, 3))) static void say(struct text_out *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->text + t->at, ISSUER_STATE_BYTES - t->at, format, args);
	va_end(args);
	if (n > 0)
		t->at += (size_t)n < ISSUER_STATE_BYTES - t->at ? (size_t)n : ISSUER_STATE_BYTES - t->at - 1;
}

static void say_authority(struct text_out *t, const char *what, const struct rotation_authority *a, const char *behind)
{
	char end[CERT_TIME_BYTES];

	if (a->cert)
		say(t, "%-10s%s, until %s%s\n", what, a->subject, cert_time_text(a->not_after_s, end), behind);
}

bool issuer_state(const struct issuer *i, char text[ISSUER_STATE_BYTES])
{
	char time_text[CERT_TIME_BYTES], behind[128] = "";
	struct text_out t = { .text = text };
	struct reflector_state watch = { 0 };
	const struct rotation *r = &i->rotation;
	uint64_t denied = 0;
	bool is_well;

	if (i->reflector)
		reflector_state(i->reflector, &watch);
	is_well = i->has_rotation && i->has_bundle && !i->trouble[0] && watch.is_synced;
	say(&t, "%-10s%s\n", "well:", is_well ? "yes" : "no");
	say(&t, "%-10s%s\n", "running:", cert_time_text(i->started_s, time_text));
	if (i->has_rotation)
		say_authority(&t, "signs:", &r->current, "");
	if (r->next.cert && r->next_since_s)
		snprintf(behind, sizeof(behind), "; published, signs from %s",
		         cert_time_text(r->next_since_s + i->s->rotation.trust_delay_s, time_text));
	say_authority(&t, "next:", &r->next, behind);
	if (r->old.cert)
		snprintf(behind, sizeof(behind), "; trusted until %s", cert_time_text(r->old_until_s, time_text));
	say_authority(&t, "old:", &r->old, behind);
	say(&t, "%-10s%llu\n", "signed:", (unsigned long long)i->signed_count);
	for (int k = 0; k < JUDGE_REASONS; k++)
		denied += i->denied[k];
	say(&t, "%-10s%llu\n", "denied:", (unsigned long long)denied);
	for (int k = 0; k < JUDGE_REASONS; k++) {
		if (i->denied[k])
			say(&t, "  %-20s%llu\n", judge_reason_word(k), (unsigned long long)i->denied[k]);
	}
	say(&t, "%-10s%zu\n", "waiting:", i->docket.count);
	if (watch.error[0])
		say(&t, "%-10s%s\n", "requests:", watch.error);
	if (i->trouble[0])
		say(&t, "%-10s%s\n", "trouble:", i->trouble);
	return is_well;
}

/* --- asking for a rotation --- */

static void ask_fault(struct issuer_ask *a, const struct kube_answer *answer)
{
	char error[KUBE_ERROR_BYTES + 128];

	if (!answer->error && answer->status == 404)
		snprintf(error, sizeof(error), "there is no Secret %s/%s: no issuer has made an authority yet", a->name_space, a->secret);
	else
		snprintf(error, sizeof(error), "the Secret %s/%s: %s", a->name_space, a->secret, answer->text);
	a->done(a, error);
}

static void ask_written(void *ctx, const struct kube_answer *answer)
{
	struct issuer_ask *a = ctx;

	if (is_good(answer))
		a->done(a, "");
	else
		ask_fault(a, answer);
}

int issuer_ask_rotation(struct issuer_ask *a)
{
	static const struct kube_handler handler = { .on_done = ask_written };
	struct kube_call *call;
	struct body b = { 0 };
	char path[PATH_BYTES];
	int r;

	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets/%s", a->name_space, a->secret);
	store_secret_ask(&b);
	r = b.is_broken ? -ENOMEM
	                : kube_send(a->client,
	                            &(struct kube_request){ .method = "PATCH",
	                                                    .path = path,
	                                                    .content_type = MERGE_PATCH,
	                                                    .body = b.text,
	                                                    .body_bytes = b.len_bytes,
	                                                    .timeout_ms = CALL_TIMEOUT_MS },
	                            &handler, a, &call);
	body_done(&b);
	return r;
}
