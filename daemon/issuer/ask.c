/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/inside.h"

#include <errno.h>
#include <stdio.h>

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

	if (issuer_is_good(answer))
		a->done(a, "");
	else
		ask_fault(a, answer);
}

int issuer_ask_rotation(struct issuer_ask *a)
{
	static const struct kube_handler handler = { .on_done = ask_written };
	struct kube_call *call;
	struct body b = { 0 };
	char path[ISSUER_PATH_BYTES];
	struct kube_request request = {
		.method = "PATCH", .path = path, .content_type = ISSUER_MERGE_PATCH, .timeout_ms = ISSUER_CALL_TIMEOUT_MS
	};

	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets/%s", a->name_space, a->secret);
	store_secret_ask(&b);
	return kube_send_body(a->client, &request, &b, &handler, a, &call);
}
