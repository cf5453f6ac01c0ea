/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
	SECRET_FRESH_MS = 10000, /* another issuer may have changed it; shorter than ROTATION_MARGIN_S by far */
	BUNDLE_FRESH_MS = 60000, /* somebody may have changed it */
	RETRY_LEAST_MS = 500,
	RETRY_MOST_MS = 30000,
};

static_assert(SECRET_FRESH_MS < ROTATION_MARGIN_S * 1000 / 2, "what an issuer knows is younger than what the rotation allows for");

/* --- trouble --- */

void issuer_in_trouble(struct issuer *i, const char *format, ...)
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

void issuer_out_of_trouble(struct issuer *i)
{
	if (i->trouble[0])
		log_info("goes on");
	i->trouble[0] = '\0';
	i->failures = 0;
}

/* What of an answer that is no success: the API's own sentence names the right that is missing, or the webhook that refused. */
void issuer_answer_trouble(struct issuer *i, const char *what, const struct kube_answer *a)
{
	if (a->error)
		issuer_in_trouble(i, "%s: the API server did not answer: %s", what, a->text);
	else if (a->status == 403)
		issuer_in_trouble(i, "%s: a right is missing: %s", what, a->text);
	else
		issuer_in_trouble(i, "%s: the API server answered %u: %s", what, a->status, a->text);
}

bool issuer_is_good(const struct kube_answer *a)
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
	issuer_go_on(i);
}

void issuer_call(struct issuer *i, const char *method, const char *path, const char *content_type, struct body *body,
                 void (*then)(struct issuer *i, const struct kube_answer *a))
{
	static const struct kube_handler handler = { .on_done = on_done };
	struct kube_request request = {
		.method = method,
		.path = path,
		.content_type = content_type,
		.timeout_ms = ISSUER_CALL_TIMEOUT_MS,
	};
	int r;

	i->then = then;
	r = kube_send_body(i->client, &request, body, &handler, i, &i->call);
	if (r) {
		i->call = NULL;
		issuer_in_trouble(i, "%s %s can not be sent: %s", method, path, strerror(-r));
	}
}

const char *issuer_path(const struct issuer *i, const char *plural, const char *name, char ret[ISSUER_PATH_BYTES])
{
	snprintf(ret, ISSUER_PATH_BYTES, "/api/v1/namespaces/%s/%s%s%s", i->s->name_space, plural, name[0] ? "/" : "", name);
	return ret;
}

/* --- what is next --- */

static bool is_fresh(const struct issuer *i, struct instant since, uint64_t for_ms)
{
	return instant_elapsed_ns(since, loop_now(i->loop)) < for_ms * NS_PER_MS;
}

static void read_object(struct issuer *i, const char *plural, const char *name, void (*then)(struct issuer *i, const struct kube_answer *a))
{
	char path[ISSUER_PATH_BYTES];

	issuer_call(i, "GET", issuer_path(i, plural, name, path), NULL, NULL, then);
}

/* Nothing is to do: the timer wakes it when what it knows grows old. */
static void rest(struct issuer *i)
{
	issuer_out_of_trouble(i);
	(void)loop_timer_set(i->loop, &i->timer,
	                     i->docket.is_overflown ? loop_now(i->loop) : instant_add_ms(i->secret_at, SECRET_FRESH_MS));
}

/* One step; each answer calls it again. */
void issuer_go_on(struct issuer *i)
{
	struct docket_case *c = docket_first(&i->docket);
	enum rotation_step step;
	char *wanted;
	bool is_published;

	if (i->call || i->is_waiting)
		return;
	if (i->is_starting && i->s->owner[0]) {
		read_object(i, "serviceaccounts", i->s->owner, issuer_owner_read);
		return;
	}
	if (!i->is_secret_known || (i->has_rotation && !is_fresh(i, i->secret_at, SECRET_FRESH_MS))) {
		read_object(i, "secrets", i->s->secret, issuer_secret_read);
		return;
	}
	if (!i->has_rotation) {
		issuer_make_secret(i);
		return;
	}
	if (!i->is_bundle_known || !is_fresh(i, i->bundle_at, BUNDLE_FRESH_MS)) {
		read_object(i, "configmaps", i->s->bundle, issuer_bundle_read);
		return;
	}
	if (rotation_bundle(&i->rotation, &wanted)) {
		issuer_in_trouble(i, "out of memory");
		return;
	}
	is_published = i->has_bundle && strcmp(i->bundle, wanted) == 0;
	if (!is_published)
		issuer_write_bundle(i, wanted);
	free(wanted);
	if (!is_published)
		return;
	step = rotation_due(&i->rotation, &i->s->rotation, time(NULL), true);
	if (step != ROTATION_STAY)
		issuer_take_step(i, step);
	else if (c)
		issuer_answer_request(i, c);
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
		if (issuer_start_requests(i)) {
			i->docket.is_overflown = true;
			issuer_in_trouble(i, "requests can not be listed again");
			return;
		}
	}
	issuer_go_on(i);
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
		r = issuer_start_requests(i);
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
