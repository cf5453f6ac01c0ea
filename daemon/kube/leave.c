/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/leave.h"

#include "kube/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 768, QUESTION_MS = 3000 };

enum question { ASK_DAEMONSET, ASK_NODE, QUESTIONS };

struct asked {
	struct leave *leave;
	struct kube_call *call;
	bool is_answered;            /* it is there, and stays */
	char text[KUBE_ERROR_BYTES]; /* of the last try that was no answer */
};

struct leave {
	struct loop *loop;
	struct source *source;
	struct message *message;
	char *self, *daemonset;
	leave_fn done;
	void *ctx;
	bool is_done;
	struct asked asked[QUESTIONS];
	struct loop_timer again, bound;
};

static void finish(struct leave *l, bool is_leaving, const char *text)
{
	if (l->is_done)
		return;
	l->is_done = true;
	loop_timer_clear(l->loop, &l->again);
	loop_timer_clear(l->loop, &l->bound);
	for (int q = 0; q < QUESTIONS; q++) {
		kube_cancel(l->asked[q].call);
		l->asked[q].call = NULL;
	}
	l->done(l->ctx, is_leaving, text);
}

/* What the object itself says: why Culvert is being taken out; "": nothing of the kind, it stays; NULL with *ret_text: that is not known yet. */
static const char *reason_of_node(struct leave *l, const struct kube_answer *answer, const char **ret_text)
{
	struct object o;

	if (message_answer_object(l->message, OBJECT_NODE, answer->body, answer->body_bytes, &o) < 0) {
		*ret_text = message_error(l->message);
		return NULL;
	}
	if (o.node.is_unenrolled)
		return "this Node is annotated " MESSAGE_KEY_ENROLLED ": \"false\"";
	/* Finalizers may keep it for long. Until it is gone other nodes hold it enrolled and refuse what it would send in the clear. */
	if (o.meta.is_deleting) {
		*ret_text = "it is being deleted and is still there, so this node is enrolled still";
		return NULL;
	}
	return "";
}

static const char *reason_of_daemonset(struct leave *l, const struct kube_answer *answer, const char **ret_text)
{
	struct object_meta meta;

	if (message_answer_meta(l->message, answer->body, answer->body_bytes, &meta) < 0) {
		*ret_text = message_error(l->message);
		return NULL;
	}
	return meta.is_deleting ? "the DaemonSet is being deleted" : "";
}

/* A 404 in the API's own words; one of a proxy or of a server that is starting says nothing. */
static bool is_not_found(struct leave *l, const struct kube_answer *answer)
{
	struct message_status s;

	return answer->error == 0 && answer->status == 404 &&
	       message_answer_status(l->message, answer->body, answer->body_bytes, &s) == 0 && strcmp(s.reason, "NotFound") == 0;
}

static void judge(struct leave *l)
{
	if (source_is_ending(l->source)) {
		finish(l, true, "a namespace of Culvert is being deleted");
		return;
	}
	for (int q = 0; q < QUESTIONS; q++) {
		if (!l->asked[q].is_answered)
			return;
	}
	finish(l, false, "the DaemonSet and the Node are there");
}

static void on_answer(struct asked *a, enum question q, const struct kube_answer *answer)
{
	struct leave *l = a->leave;
	const char *reason = NULL, *text = answer->text;

	a->call = NULL;
	if (is_not_found(l, answer)) {
		finish(l, true, q == ASK_NODE ? "this Node is gone" : "the DaemonSet is gone");
		return;
	}
	if (answer->error == 0 && answer->status == 200)
		reason = q == ASK_NODE ? reason_of_node(l, answer, &text) : reason_of_daemonset(l, answer, &text);
	if (reason && *reason) {
		finish(l, true, reason);
		return;
	}
	a->is_answered = reason != NULL;
	if (!reason)
		(void)snprintf(a->text, sizeof(a->text), "%s", text);
	judge(l);
}

static void on_daemonset(void *ctx, const struct kube_answer *answer)
{
	on_answer(ctx, ASK_DAEMONSET, answer);
}

static void on_node(void *ctx, const struct kube_answer *answer)
{
	on_answer(ctx, ASK_NODE, answer);
}

static void ask(struct leave *l, enum question q)
{
	static const struct kube_handler handlers[QUESTIONS] = { { .on_done = on_daemonset }, { .on_done = on_node } };
	struct asked *a = &l->asked[q];
	struct kube_client *client = source_client(l->source);
	char path[PATH_BYTES];
	struct kube_request request = { .method = "GET", .path = path, .timeout_ms = QUESTION_MS };

	if (a->is_answered || a->call)
		return;
	if (q == ASK_NODE)
		(void)snprintf(path, sizeof(path), "/api/v1/nodes/%s", l->self);
	else
		(void)snprintf(path, sizeof(path), "/apis/apps/v1/namespaces/%s/daemonsets/%s", source_namespace(l->source), l->daemonset);
	if (!client || (q == ASK_DAEMONSET && source_namespace(l->source)[0] == '\0'))
		(void)snprintf(a->text, sizeof(a->text), "it is not known whom or where to ask");
	else if (kube_send(client, &request, &handlers[q], a, &a->call) < 0)
		a->call = NULL;
}

static void on_again(struct loop_timer *t)
{
	struct leave *l = container_of(t, struct leave, again);

	judge(l);
	if (l->is_done)
		return;
	for (int q = 0; q < QUESTIONS; q++)
		ask(l, (enum question)q);
	(void)loop_timer_set(l->loop, &l->again, instant_add_ms(loop_now(l->loop), LEAVE_AGAIN_MS));
}

static void on_bound(struct loop_timer *t)
{
	struct leave *l = container_of(t, struct leave, bound);
	char text[LEAVE_TEXT_BYTES] = "no answer";

	for (int q = 0; q < QUESTIONS; q++) {
		if (!l->asked[q].is_answered)
			(void)snprintf(text, sizeof(text), "no answer about the %s: %.511s", q == ASK_NODE ? "Node" : "DaemonSet",
			               l->asked[q].text);
	}
	finish(l, false, text);
}

int leave_ask(struct loop *loop, struct source *source, const struct leave_settings *s, leave_fn done, void *ctx, struct leave **ret)
{
	struct leave *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->source = source;
	l->done = done;
	l->ctx = ctx;
	l->again.on_expire = on_again;
	l->bound.on_expire = on_bound;
	l->self = strdup(s->self);
	l->daemonset = strdup(s->daemonset);
	if (!l->self || !l->daemonset || message_create(&l->message) < 0) {
		leave_destroy(l);
		return -ENOMEM;
	}
	for (int q = 0; q < QUESTIONS; q++)
		l->asked[q].leave = l;
	l->asked[ASK_DAEMONSET].is_answered = s->daemonset[0] == '\0';
	(void)loop_timer_set(loop, &l->bound, instant_add_ms(loop_now(loop), LEAVE_BOUND_MS));
	(void)loop_timer_set(loop, &l->again, loop_now(loop));
	*ret = l;
	return 0;
}

void leave_destroy(struct leave *l)
{
	if (!l)
		return;
	loop_timer_clear(l->loop, &l->again);
	loop_timer_clear(l->loop, &l->bound);
	for (int q = 0; q < QUESTIONS; q++)
		kube_cancel(l->asked[q].call);
	message_destroy(l->message);
	free(l->self);
	free(l->daemonset);
	free(l);
}
