/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/identity.h"

#include "base/log.h"
#include "kube/backoff.h"
#include "kube/body.h"
#include "kube/message.h"
#include "tls/ca.h"
#include "tls/csr.h"
#include "tls/holding.h"

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
	PATH_BYTES = 1024,
	NODE_PART_BYTES = 200,       /* of a request's name, which has 253 */
	REFUSED_WAIT_MIN_MS = 15000, /* a right, or what the issuer judges by, is changed by hand */
	REFUSED_WAIT_MAX_MS = 30000,
	REFUSED_DOUBLINGS = 3, /* at most eight times that: each try leaves an object in the API */
};

#define REQUESTS_PATH "/apis/certificates.k8s.io/v1/certificatesigningrequests"

static const char *const phase_names[] = {
	[IDENTITY_RESTING] = "resting", [IDENTITY_ASKING] = "asking", [IDENTITY_WAITING] = "waiting", [IDENTITY_TAKING] = "taking"
};
static_assert(sizeof(phase_names) / sizeof(phase_names[0]) == IDENTITY_PHASES, "a name for each phase");

struct identity {
	struct loop *loop;
	struct kube_client *client;
	struct identity_ops ops;
	void *ctx;
	struct message *message;
	char node[IDENTITY_NODE_BYTES], *signer, *name_space, *directory;
	struct tls_name name;

	enum identity_phase phase;
	struct kube_call *call;
	void (*then)(struct identity *i, const struct kube_answer *a);
	struct loop_timer timer; /* wakes it; while it is set nothing is begun */
	struct backoff backoff;
	unsigned refusals; /* denied, one after the other */
	uint32_t poll_ms;

	struct holding held; /* in force, where has_held */
	bool has_held;
	int64_t renew_s;
	char *bundle; /* as the ConfigMap was last read; NULL: not yet */
	bool is_bundle_fresh;
	bool is_bundle_foreign; /* the certificate in force does not go with it */

	struct pem_text key, certificate; /* of the request that is under way; certificate: it came */
	char request[IDENTITY_REQUEST_BYTES];
	int64_t asked_s;

	int64_t bundle_s, failed_s;
	uint64_t issued;
	char error[IDENTITY_ERROR_BYTES];
};

static void go_on(struct identity *i);

const char *identity_phase_name(enum identity_phase phase)
{
	return phase_names[phase];
}

static void set_phase(struct identity *i, enum identity_phase phase)
{
	if (phase != i->phase)
		log_debug("identity", L_TEXT("from", phase_names[i->phase]), L_TEXT("to", phase_names[phase]),
		          L_TEXT("request", i->request));
	i->phase = phase;
}

static void wait_ms(struct identity *i, uint32_t ms)
{
	(void)loop_timer_set(i->loop, &i->timer, instant_add_ms(loop_now(i->loop), ms));
}

/* --- failures --- */

static void set_error(struct identity *i, const char *text)
{
	if (strcmp(text, i->error) != 0)
		log_warn(i->has_held && i->held.not_after_s > time(NULL) ? "no new certificate; the one that is there is used"
		                                                         : "no certificate",
		         L_TEXT("detail", text));
	snprintf(i->error, sizeof(i->error), "%s", text);
	i->failed_s = time(NULL);
}

__attribute__((format(printf, 3, 4))) static void fail_after(struct identity *i, uint32_t ms, const char *format, ...)
{
	char text[IDENTITY_ERROR_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	set_error(i, text);
	wait_ms(i, ms);
}

static uint32_t later_ms(struct identity *i)
{
	uint32_t ms = backoff_failed(&i->backoff);

	return ms < BACKOFF_FIRST_MS / 2 ? BACKOFF_FIRST_MS / 2 : ms;
}

static uint32_t refused_ms(struct identity *i)
{
	unsigned doublings = i->refusals < REFUSED_DOUBLINGS ? i->refusals : REFUSED_DOUBLINGS;

	i->refusals++;
	return backoff_between(&i->backoff, REFUSED_WAIT_MIN_MS, REFUSED_WAIT_MAX_MS) << doublings;
}

/* An answer that is no success. The API's own sentence names the right that is missing. */
static void fail_by_answer(struct identity *i, const char *what, const struct kube_answer *a)
{
	if (a->error)
		fail_after(i, later_ms(i), "%s: the API server does not answer: %s", what, a->text);
	else if (a->status == 403)
		fail_after(i, backoff_between(&i->backoff, REFUSED_WAIT_MIN_MS, REFUSED_WAIT_MAX_MS), "%s: a right is missing: %s", what,
		           a->text);
	else
		fail_after(i, a->retry_after_ms ? a->retry_after_ms : later_ms(i), "%s: the API server answered %u: %s", what, a->status,
		           a->text);
}

static bool is_good(const struct kube_answer *a)
{
	return !a->error && a->status >= 200 && a->status < 300;
}

/* Forgets the request that is under way. */
static void drop_request(struct identity *i)
{
	pem_free(&i->key);
	pem_free(&i->certificate);
	i->request[0] = '\0';
}

/* --- calls --- */

static void on_done(void *ctx, const struct kube_answer *a)
{
	struct identity *i = ctx;
	void (*then)(struct identity * identity, const struct kube_answer *answer) = i->then;

	i->call = NULL;
	i->then = NULL;
	then(i, a);
	go_on(i);
}

static void call(struct identity *i, const char *method, const char *path, struct body *body,
                 void (*then)(struct identity *i, const struct kube_answer *a))
{
	static const struct kube_handler handler = { .on_done = on_done };
	struct kube_request request = {
		.method = method,
		.path = path,
		.content_type = body ? "application/json" : NULL,
		.timeout_ms = CALL_TIMEOUT_MS,
	};
	int r;

	i->then = then;
	r = kube_send_body(i->client, &request, body, &handler, i, &i->call);
	if (r) {
		i->call = NULL;
		fail_after(i, later_ms(i), "%s %s can not be sent: %s", method, path, strerror(-r));
	}
}

/* --- what is held --- */

/* Takes h as what is in force. */
static void hold(struct identity *i, struct holding *h)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = 0;
	holding_done(&i->held);
	i->held = *h;
	*h = (struct holding){ 0 };
	i->has_held = true;
	i->renew_s = identity_renewal(i->held.not_before_s, i->held.not_after_s, random);
}

/* Judges h and puts it in force. 0; -EINVAL: it is not good; -ENOMEM; -errno: writing; with a sentence in error. h is done with. */
static int put(struct identity *i, struct holding *h, char error[CRED_ERROR_BYTES])
{
	int r;

	if (!h->cert || !h->key || !h->ca) {
		snprintf(error, CRED_ERROR_BYTES, "out of memory");
		r = -ENOMEM;
	} else {
		r = holding_store(i->directory, &i->name, h, error);
	}
	if (r) {
		holding_done(h);
		return r;
	}
	hold(i, h);
	if (i->ops.changed)
		i->ops.changed(i->ctx);
	return 0;
}

/* --- what to trust --- */

/* Other authorities under the certificate that is in force. */
static void take_bundle(struct identity *i)
{
	struct holding h = { .cert = strdup(i->held.cert), .key = strdup(i->held.key), .ca = strdup(i->bundle) };
	char error[CRED_ERROR_BYTES];
	int r = put(i, &h, error);

	if (!r) {
		log_info("other authorities are trusted");
	} else if (r == -EINVAL) {
		/* The ConfigMap has none that issued our certificate: the authority is a new one. What is there stays until we have one too. */
		log_warn("the certificate does not go with the authorities that are published: a new one is needed",
		         L_TEXT("detail", error));
		i->is_bundle_foreign = true;
	} else {
		fail_after(i, later_ms(i), "the authorities can not be written: %s", error);
		i->is_bundle_fresh = false;
	}
}

static uint32_t check_ms(struct identity *i)
{
	int64_t life_ms = i->has_held ? (i->held.not_after_s - i->held.not_before_s - CA_CLOCK_SKEW_S) * 1000 : 0;
	uint32_t ms = life_ms / 20 > IDENTITY_CHECK_MAX_MS   ? IDENTITY_CHECK_MAX_MS
	              : life_ms / 20 < IDENTITY_CHECK_MIN_MS ? IDENTITY_CHECK_MIN_MS
	                                                     : (uint32_t)(life_ms / 20);

	return backoff_between(&i->backoff, ms - ms / 10, ms + ms / 10);
}

static void bundle_read(struct identity *i, const struct kube_answer *a)
{
	const void *value;
	size_t value_bytes;
	char *bundle;
	int r;

	if (!a->error && a->status == 404) {
		fail_after(i, later_ms(i), "there is no ConfigMap %s/%s: culvert-issuer publishes there whom to trust", i->name_space,
		           IDENTITY_BUNDLE);
		return;
	}
	if (!is_good(a)) {
		fail_by_answer(i, "the ConfigMap " IDENTITY_BUNDLE " can not be read", a);
		return;
	}
	r = message_answer_data(i->message, a->body, a->body_bytes, IDENTITY_BUNDLE_KEY, &value, &value_bytes);
	bundle = r ? NULL : strndup(value, value_bytes);
	if (!bundle) {
		fail_after(i, later_ms(i), "the ConfigMap %s/%s: %s", i->name_space, IDENTITY_BUNDLE,
		           r ? message_error(i->message) : "out of memory");
		return;
	}
	free(i->bundle);
	i->bundle = bundle;
	i->bundle_s = time(NULL);
	i->is_bundle_fresh = true;
	i->is_bundle_foreign = false;
}

/* --- asking --- */

static void put_request(const struct identity *i, struct body *b, const struct pem_text *request)
{
	body_put(b, "{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":");
	body_put_text(b, i->request);
	body_put(
		b,
		",\"labels\":{\"app.kubernetes.io/name\":\"culvert\",\"app.kubernetes.io/component\":\"daemon\"}},\"spec\":{\"signerName\":");
	body_put_text(b, i->signer);
	body_put(b, ",\"usages\":[\"digital signature\",\"client auth\",\"server auth\"],\"request\":");
	body_put_base64(b, request->text, request->len_bytes);
	body_put(b, "}}");
}

static void request_made(struct identity *i, const struct kube_answer *a)
{
	if (!is_good(a)) {
		drop_request(i);
		set_phase(i, IDENTITY_RESTING);
		fail_by_answer(i, "a certificate can not be asked for", a);
		return;
	}
	i->asked_s = time(NULL);
	i->poll_ms = IDENTITY_POLL_MIN_MS;
	set_phase(i, IDENTITY_WAITING);
	log_info("asked for a certificate", L_TEXT("request", i->request), L_TEXT("signer", i->signer));
	wait_ms(i, i->poll_ms);
}

static void ask(struct identity *i)
{
	struct pem_text request = { 0 };
	struct body b = { 0 };
	uint32_t random;
	int r;

	r = getrandom(&random, sizeof(random), 0) != sizeof(random) ? -EIO : csr_make(&i->name, &i->key, &request);
	if (r) {
		fail_after(i, later_ms(i), "a key can not be made: %s", strerror(-r));
		return;
	}
	snprintf(i->request, sizeof(i->request), "culvert-%.*s-%08x", NODE_PART_BYTES, i->node, random);
	set_phase(i, IDENTITY_ASKING);
	put_request(i, &b, &request);
	pem_free(&request);
	call(i, "POST", REQUESTS_PATH, &b, request_made);
	if (!i->call) {
		drop_request(i);
		set_phase(i, IDENTITY_RESTING);
	}
}

/* --- the answer --- */

static void give_up(struct identity *i)
{
	drop_request(i);
	i->is_bundle_fresh = false;
	set_phase(i, IDENTITY_RESTING);
}

static void not_answered(struct identity *i)
{
	int64_t for_s = time(NULL) - i->asked_s;
	char text[IDENTITY_ERROR_BYTES];

	if (for_s > IDENTITY_GIVE_UP_S || for_s < 0) {
		give_up(i);
		return;
	}
	if (for_s >= IDENTITY_QUIET_S) {
		snprintf(text, sizeof(text), "the request %s has no answer yet: does culvert-issuer run in the namespace %s?", i->request,
		         i->name_space);
		set_error(i, text);
	}
	i->poll_ms = i->poll_ms * 2 > IDENTITY_POLL_MAX_MS ? IDENTITY_POLL_MAX_MS : i->poll_ms * 2;
	wait_ms(i, backoff_between(&i->backoff, i->poll_ms - i->poll_ms / 4, i->poll_ms));
}

static void answer_read(struct identity *i, const struct kube_answer *a)
{
	struct pem_text certificate = { 0 };
	const struct object_request *request;
	struct object o;

	if (!a->error && a->status == 404) {
		give_up(i);
		fail_after(i, later_ms(i), "the request for a certificate is gone without an answer");
		return;
	}
	if (!is_good(a)) {
		fail_by_answer(i, "the answer to the request can not be read", a);
		return;
	}
	if (message_answer_object(i->message, OBJECT_REQUEST, a->body, a->body_bytes, &o)) {
		give_up(i);
		fail_after(i, later_ms(i), "the answer to the request can not be understood: %s", message_error(i->message));
		return;
	}
	request = &o.request;
	if (request->is_denied || request->is_failed) {
		fail_after(i, refused_ms(i), "the request %s was %s: %s", i->request, request->is_denied ? "denied" : "failed",
		           request->verdict);
		give_up(i);
		return;
	}
	if (!request->certificate) {
		not_answered(i);
		return;
	}
	certificate.text = strndup(request->certificate, request->certificate_bytes);
	if (!certificate.text) {
		fail_after(i, later_ms(i), "out of memory");
		return;
	}
	certificate.len_bytes = strlen(certificate.text);
	i->certificate = certificate;
	/* It is taken with what is published now, so that whoever holds a good certificate trusts what has been published since it asked. */
	i->is_bundle_fresh = false;
	set_phase(i, IDENTITY_TAKING);
}

/* The certificate is there, and so is what to trust. */
static void take_certificate(struct identity *i)
{
	struct holding h = { .cert = i->certificate.text, .key = i->key.text, .ca = strdup(i->bundle) };
	char error[CRED_ERROR_BYTES];
	int r;

	i->certificate = i->key = (struct pem_text){ 0 };
	r = put(i, &h, error);
	if (r) {
		fail_after(i, refused_ms(i), "the certificate that came can not be used: %s", error);
		give_up(i);
		return;
	}
	i->issued++;
	i->refusals = 0;
	log_info("got a certificate", L_TEXT("request", i->request), L_I64("not_after_s", i->held.not_after_s),
	         L_I64("renew_s", i->renew_s));
	drop_request(i);
	set_phase(i, IDENTITY_RESTING);
}

/* --- what is next --- */

static void rest(struct identity *i)
{
	int64_t left_ms = (i->renew_s - time(NULL)) * 1000;
	uint32_t ms = check_ms(i);

	backoff_good(&i->backoff);
	i->error[0] = '\0';
	set_phase(i, IDENTITY_RESTING);
	if (left_ms < (int64_t)ms)
		ms = left_ms < 0 ? 0 : (uint32_t)left_ms;
	else
		i->is_bundle_fresh = false; /* it is read again when the timer comes */
	wait_ms(i, ms);
}

/* One step; each answer and the timer call it again. */
static void go_on(struct identity *i)
{
	char path[PATH_BYTES];

	if (i->call || i->timer.heap_index)
		return;
	/* A signer may be away for long; whom to trust is followed all the same. */
	if (i->phase == IDENTITY_WAITING && time(NULL) - i->bundle_s > IDENTITY_CHECK_MAX_MS / 1000)
		i->is_bundle_fresh = false;
	if (!i->is_bundle_fresh) {
		snprintf(path, sizeof(path), "/api/v1/namespaces/%s/configmaps/" IDENTITY_BUNDLE, i->name_space);
		call(i, "GET", path, NULL, bundle_read);
		return;
	}
	if (i->phase == IDENTITY_TAKING)
		take_certificate(i);
	else if (i->has_held && !i->is_bundle_foreign && strcmp(i->held.ca, i->bundle) != 0)
		take_bundle(i);
	if (i->timer.heap_index)
		return;
	if (i->phase == IDENTITY_WAITING) {
		snprintf(path, sizeof(path), REQUESTS_PATH "/%s", i->request);
		call(i, "GET", path, NULL, answer_read);
	} else if (!i->has_held || i->is_bundle_foreign || time(NULL) >= i->renew_s) {
		ask(i);
	} else {
		rest(i);
	}
}

static void on_timer(struct loop_timer *t)
{
	go_on(container_of(t, struct identity, timer));
}

/* --- life --- */

int64_t identity_renewal(int64_t not_before_s, int64_t not_after_s, uint64_t random)
{
	/* The issuer sets the beginning back, because clocks differ. */
	int64_t issued_s = not_before_s + CA_CLOCK_SKEW_S < not_after_s ? not_before_s + CA_CLOCK_SKEW_S : not_before_s;
	int64_t life_s = not_after_s - issued_s, spread_s = life_s / 10;

	return issued_s + life_s * 2 / 3 - spread_s / 2 + (spread_s > 0 ? (int64_t)(random % (uint64_t)(spread_s + 1)) : 0);
}

int identity_create(struct loop *loop, struct kube_client *client, const struct identity_settings *s, const struct identity_ops *ops,
                    void *ctx, struct identity **ret)
{
	struct identity *i = calloc(1, sizeof(*i));
	char error[CRED_ERROR_BYTES];
	struct holding left;
	int r;

	if (!i)
		return -ENOMEM;
	i->loop = loop;
	i->client = client;
	i->ops = *ops;
	i->ctx = ctx;
	i->name = s->name;
	i->backoff.random = s->seed;
	i->timer.on_expire = on_timer;
	i->signer = strdup(s->signer);
	i->name_space = strdup(s->name_space);
	i->directory = strdup(s->directory);
	r = i->signer && i->name_space && i->directory ? message_create(&i->message) : -ENOMEM;
	if (!r && snprintf(i->node, sizeof(i->node), "%s", s->node) >= (int)sizeof(i->node))
		r = -EINVAL;
	if (!r)
		r = loop_timer_set(loop, &i->timer, loop_now(loop));
	if (r) {
		identity_destroy(i);
		return r;
	}
	r = holding_load(i->directory, &i->name, &left, error);
	if (r)
		log_info("a new certificate is needed", L_TEXT("detail", error));
	else
		hold(i, &left);
	*ret = i;
	return 0;
}

void identity_destroy(struct identity *i)
{
	if (!i)
		return;
	kube_cancel(i->call);
	loop_timer_clear(i->loop, &i->timer);
	drop_request(i);
	holding_done(&i->held);
	message_destroy(i->message);
	free(i->bundle);
	free(i->signer);
	free(i->name_space);
	free(i->directory);
	free(i);
}

void identity_state(const struct identity *i, struct identity_state *ret)
{
	*ret = (struct identity_state){
		.phase = i->phase,
		.has_certificate = i->has_held && i->held.not_after_s > time(NULL),
		.bundle_s = i->bundle_s,
		.failed_s = i->failed_s,
		.issued = i->issued,
	};
	if (i->has_held) {
		ret->since_s = i->held.not_before_s + CA_CLOCK_SKEW_S < i->held.not_after_s ? i->held.not_before_s + CA_CLOCK_SKEW_S
		                                                                            : i->held.not_before_s;
		ret->renew_s = i->renew_s;
	}
	memcpy(ret->request, i->request, sizeof(ret->request));
	memcpy(ret->error, i->error, sizeof(ret->error));
}
