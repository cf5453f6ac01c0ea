/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/text.h"
#include "issuer/inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { PAGE_ITEMS = 500 };

#define REQUESTS_PATH "/apis/certificates.k8s.io/v1/certificatesigningrequests"

/* A request, or with part ("/approval", "/status") what of it is changed. Its name is whatever somebody chose: also one with '?' or a blank. */
static const char *path_of_request(const char *name, const char *part, char ret[ISSUER_PATH_BYTES])
{
	char escaped[3 * JUDGE_NAME_BYTES + 1];

	text_percent(name, escaped, sizeof(escaped));
	snprintf(ret, ISSUER_PATH_BYTES, REQUESTS_PATH "/%s%s", escaped, part);
	return ret;
}

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
	if (!issuer_is_good(a)) {
		issuer_answer_trouble(i, "a request can not be read", a);
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
	char path[ISSUER_PATH_BYTES];

	if (a->error || (a->status != 404 && a->status != 409 && a->status != 422)) {
		docket_defer(&i->docket, i->subject); /* a webhook may refuse this one alone */
		issuer_answer_trouble(i, what, a);
		return;
	}
	if (a->status == 404 || !c || ++c->tries > DOCKET_TRIES) {
		if (c && a->status != 404)
			log_warn("a request is left alone", L_TEXT("request", i->subject), L_TEXT("detail", a->text));
		docket_remove(&i->docket, i->subject);
		return;
	}
	c->version[0] = '\0'; /* so that it is taken again even where it has not changed */
	issuer_call(i, "GET", path_of_request(i->subject, "", path), NULL, NULL, request_read);
}

static void request_denied(struct issuer *i, const struct kube_answer *a)
{
	uint32_t kept_back;

	if (!issuer_is_good(a)) {
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
	if (!issuer_is_good(a)) {
		request_refused(i, "a certificate can not be put into its request", a);
		return;
	}
	i->signed_count++;
	issuer_out_of_trouble(i);
	log_info("signed", L_TEXT("request", i->subject), L_TEXT("node", i->subject_node),
	         L_TEXT("authority", i->rotation.current.subject));
	docket_remove(&i->docket, i->subject);
}

static void request_approved(struct issuer *i, const struct kube_answer *a)
{
	struct docket_case *c = current_case(i);
	struct object_meta meta;

	if (!issuer_is_good(a)) {
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

	if (!is_gone && !issuer_is_good(a)) {
		issuer_answer_trouble(i, "the pod of a request can not be read", a);
		return;
	}
	if (!is_gone && message_answer_object(i->message, OBJECT_POD, a->body, a->body_bytes, &o)) {
		issuer_in_trouble(i, "the pod of the request %s can not be understood: %s", i->subject, message_error(i->message));
		return;
	}
	if (c && docket_judge_pod(c, &i->judge, is_gone ? NULL : &o.pod))
		issuer_in_trouble(i, "out of memory");
}

/* Signs the case that was judged to be right. */
static void sign(struct issuer *i, struct docket_case *c, const char *path)
{
	int64_t now_s = time(NULL), end_s = rotation_leaf_end(&i->rotation, &i->s->rotation, now_s, c->lifetime_s);
	struct pem_text certificate = { 0 };
	char error[CA_ERROR_BYTES] = "";
	struct body b = { 0 };

	if (!end_s) {
		issuer_in_trouble(i, "the authority %s has ended: a new one takes over", i->rotation.current.subject);
		return;
	}
	if (signer_sign(i->signer, &c->claim.csr, c->node, now_s - CA_CLOCK_SKEW_S, end_s, &certificate, error)) {
		issuer_in_trouble(i, "%s", error);
		return;
	}
	store_request_sign(&b, c->version, certificate.text);
	pem_free(&certificate);
	issuer_call(i, "PATCH", path, ISSUER_JSON_PATCH, &b, request_signed);
}

void issuer_answer_request(struct issuer *i, struct docket_case *c)
{
	char path[ISSUER_PATH_BYTES];
	struct body b = { 0 };

	memcpy(i->subject, c->name, sizeof(i->subject));
	memcpy(i->subject_node, c->node, sizeof(i->subject_node));
	if (c->refusal)
		i->refusal = *c->refusal;
	if (c->refusal && c->is_approved) {
		/* Somebody else approved it. That is no reason to sign. */
		store_request_fail(&b, c->version, c->refusal);
		issuer_call(i, "PATCH", path_of_request(c->name, "/status", path), ISSUER_JSON_PATCH, &b, request_denied);
	} else if (c->refusal) {
		store_request_deny(&b, c->version, c->refusal);
		issuer_call(i, "PATCH", path_of_request(c->name, "/approval", path), ISSUER_JSON_PATCH, &b, request_denied);
	} else if (!c->node[0]) {
		issuer_call(i, "GET", issuer_path(i, "pods", c->claim.pod, path), NULL, NULL, pod_read);
	} else if (!c->is_approved) {
		store_request_approve(&b, c->version, c->node);
		issuer_call(i, "PATCH", path_of_request(c->name, "/approval", path), ISSUER_JSON_PATCH, &b, request_approved);
	} else {
		sign(i, c, path_of_request(c->name, "/status", path));
	}
}

static void on_put(void *ctx, const struct object *o)
{
	struct issuer *i = ctx;

	if (docket_put(&i->docket, &i->judge, i->s->signer, &o->request))
		log_warn("a request is left alone: out of memory", L_TEXT("request", o->meta.name));
	issuer_go_on(i);
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

int issuer_start_requests(struct issuer *i)
{
	static const struct reflector_ops ops = {
		.list_began = on_list, .put = on_put, .gone = on_gone, .list_ended = on_list, .state_changed = on_reflector_state
	};
	char selector[ISSUER_PATH_BYTES], signer[ISSUER_PATH_BYTES / 2];
	struct reflector_settings s = { .kind = OBJECT_REQUEST, .path = REQUESTS_PATH, .selector = selector, .page_items = PAGE_ITEMS };

	text_percent(i->s->signer, signer, sizeof(signer));
	snprintf(selector, sizeof(selector), "fieldSelector=spec.signerName%%3D%s", signer);
	if (getrandom(&s.seed, sizeof(s.seed), 0) != sizeof(s.seed))
		return -EIO;
	return reflector_create(i->loop, i->client, &s, &ops, i, &i->reflector);
}
