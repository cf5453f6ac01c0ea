/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the owner --- */

void issuer_owner_read(struct issuer *i, const struct kube_answer *a)
{
	struct object_meta meta;

	if (!issuer_is_good(a)) {
		issuer_answer_trouble(i, "the service account of --owner-account can not be read", a);
		return;
	}
	if (message_answer_meta(i->message, a->body, a->body_bytes, &meta) || strlen(meta.uid) >= sizeof(i->owner.uid)) {
		issuer_in_trouble(i, "the service account %s can not be understood: %s", i->s->owner, message_error(i->message));
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
		issuer_in_trouble(i, "the Secret %s/%s: %s", i->s->name_space, i->s->secret, error);
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

void issuer_secret_read(struct issuer *i, const struct kube_answer *a)
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
	if (!issuer_is_good(a)) {
		issuer_answer_trouble(i, "the Secret of the authority can not be read", a);
		return;
	}
	if (store_secret_read(i->message, a->body, a->body_bytes, &r, i->secret_version, error)) {
		issuer_in_trouble(i, "the Secret %s/%s can not be used, and is left alone: %s. Mend it, or delete it for a new authority",
		                  i->s->name_space, i->s->secret, error);
		return;
	}
	(void)adopt(i, &r);
}

static void secret_made(struct issuer *i, const struct kube_answer *a)
{
	/* Whoever came first: what is there now counts. */
	i->is_secret_known = false;
	if (issuer_is_good(a))
		log_info("made an authority", L_TEXT("subject", i->changed.current.subject),
		         L_I64("not_after_s", i->changed.current.not_after_s));
	else if (a->error || a->status != 409)
		issuer_answer_trouble(i, "the Secret of the authority can not be made", a);
	rotation_done(&i->changed);
}

void issuer_make_secret(struct issuer *i)
{
	struct body b = { 0 };
	char path[ISSUER_PATH_BYTES];

	if (rotation_first(&i->s->rotation, time(NULL), &i->changed)) {
		issuer_in_trouble(i, "an authority can not be made");
		return;
	}
	store_secret_new(&b, i->s->secret, &i->owner, &i->changed);
	issuer_call(i, "POST", issuer_path(i, "secrets", "", path), ISSUER_JSON, &b, secret_made);
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

	if (!issuer_is_good(a)) {
		rotation_done(&i->changed);
		i->is_secret_known = false;
		if (a->error || a->status != 409) /* 409: another issuer was first */
			issuer_answer_trouble(i, "the Secret of the authority can not be changed", a);
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

void issuer_take_step(struct issuer *i, enum rotation_step step)
{
	struct body b = { 0 };
	char path[ISSUER_PATH_BYTES];

	if (rotation_take(&i->rotation, step, &i->s->rotation, time(NULL), &i->changed)) {
		issuer_in_trouble(i, "the rotation's step %s can not be taken", rotation_step_name(step));
		return;
	}
	i->step = step;
	store_secret_change(&b, i->secret_version, &i->changed);
	issuer_call(i, "PATCH", issuer_path(i, "secrets", i->s->secret, path), ISSUER_MERGE_PATCH, &b, step_stored);
}

/* --- the ConfigMap --- */

void issuer_bundle_read(struct issuer *i, const struct kube_answer *a)
{
	char error[STORE_ERROR_BYTES];
	char *bundle;

	if (!a->error && a->status == 404) {
		i->has_bundle = false;
		i->is_bundle_known = true;
		i->bundle_at = loop_now(i->loop);
		return;
	}
	if (!issuer_is_good(a)) {
		issuer_answer_trouble(i, "the ConfigMap for the nodes can not be read", a);
		return;
	}
	if (store_bundle_read(i->message, a->body, a->body_bytes, &bundle, i->bundle_version, error)) {
		issuer_in_trouble(i, "the ConfigMap %s/%s can not be understood: %s", i->s->name_space, i->s->bundle, error);
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
	if (issuer_is_good(a))
		log_info("published the authorities", L_TEXT("configmap", i->s->bundle));
	else if (a->error || a->status != 409)
		issuer_answer_trouble(i, "the ConfigMap for the nodes can not be written", a);
}

void issuer_write_bundle(struct issuer *i, const char *wanted)
{
	struct body b = { 0 };
	char path[ISSUER_PATH_BYTES];

	if (i->has_bundle) {
		store_bundle_change(&b, i->bundle_version, wanted);
		issuer_call(i, "PATCH", issuer_path(i, "configmaps", i->s->bundle, path), ISSUER_MERGE_PATCH, &b, bundle_written);
	} else {
		store_bundle_new(&b, i->s->bundle, &i->owner, wanted);
		issuer_call(i, "POST", issuer_path(i, "configmaps", "", path), ISSUER_JSON, &b, bundle_written);
	}
}
