/* SPDX-License-Identifier: GPL-3.0-or-later */
/* client.h - requests to the Kubernetes API server over libcurl's multi interface, driven by our loop; nothing blocks but the reading of
 * the credentials' files. Knows HTTP, TLS and credentials; of what the answers mean only the API's own sentence about a failure. All calls
 * share one connection where the server speaks HTTP/2. Credentials are read again as they change; an answer of 401 makes it so at once, and
 * the call is made once more. Thread: main. */
#ifndef CULVERT_KUBE_CLIENT_H
#define CULVERT_KUBE_CLIENT_H

#include "base/list.h"
#include "kube/body.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_client;
struct kube_call;

enum {
	KUBE_ERROR_BYTES = 512,
	KUBE_ANSWER_MAX_BYTES = 1 << 20,  /* of an answer that is collected, where nothing else is said; the largest object has 1.5 MiB */
	KUBE_ERROR_BODY_BYTES = 64 << 10, /* of an answer that is not 2xx; the rest of it is dropped */
};

struct kube_client_settings {
	const char *kubeconfig; /* a file; NULL: the pod's service account and environment (KUBERNETES_SERVICE_HOST and _PORT) */
	/* In place of /var/run/secrets/kubernetes.io/serviceaccount, for tests; NULL: that one. */
	const char *service_account_directory;
	const char *user_agent;
};

/* 0, or -errno with a sentence that names the file, the variable or the key. loop is borrowed. */
int kube_client_create(struct loop *loop, const struct kube_client_settings *s, struct kube_client **ret, char error[KUBE_ERROR_BYTES]);
void kube_client_destroy(struct kube_client *c); /* calls in flight end without a callback. NULL is welcome */
/* The namespace of the pod's service account, or of the kubeconfig's context, or "". */
const char *kube_client_namespace(const struct kube_client *c);
/* Why files of the credentials can not be read any more: the old ones are still used. "" where all is well. */
const char *kube_client_credentials_error(const struct kube_client *c);

/* Is told when token, authority or client certificate are others than before: what was forbidden may be allowed now. Embedded in its owner. */
struct kube_listener {
	struct list link;
	void (*credentials_changed)(struct kube_listener *l);
};
void kube_client_listen(struct kube_client *c, struct kube_listener *l);
void kube_client_unlisten(struct kube_listener *l);

struct kube_request {
	const char *method;       /* "GET", "POST", "PUT", "PATCH", "DELETE" */
	const char *path;         /* with its query: "/api/v1/pods?limit=500" */
	const char *content_type; /* of body; NULL: none */
	const void *body;         /* copied */
	size_t body_bytes;
	const char *accept;  /* NULL: "application/vnd.kubernetes.protobuf" */
	uint32_t timeout_ms; /* for all of it; 0: no limit (watches) */
	uint32_t silence_ms; /* no byte for so long: ended as -ETIMEDOUT; 0: no limit. Half-open connections of watches */
	size_t answer_max;   /* without on_data: an answer that is longer is -EMSGSIZE; 0: KUBE_ANSWER_MAX_BYTES */
};

/* How a call ended. */
struct kube_answer {
	int error;               /* 0: an HTTP answer came; -errno: none, or it broke off; text says why */
	unsigned status;         /* HTTP's; 0 where error */
	uint32_t retry_after_ms; /* of a Retry-After header; 0: none */
	const void *body;        /* of calls without on_data, and of every answer that is not 2xx; ends with a NUL that is not counted */
	size_t body_bytes;
	const char *text; /* one sentence for people, of the API's Status message where there is one: never NULL */
};

struct kube_handler {
	/* An answer of 2xx begins; NULL is welcome. Of a watch it may be long before anything follows. */
	void (*on_open)(void *ctx);
	/* A part of a 2xx answer's body, as it comes; NULL: it is collected for on_done. False ends the call with -ECANCELED, and on_done
	 * comes. */
	bool (*on_data)(void *ctx, const void *data, size_t len_bytes);
	/* Called once for a call that was not cancelled, from the loop, never from kube_send. The call is gone after it. */
	void (*on_done)(void *ctx, const struct kube_answer *answer);
};

/* Sends. All texts are copied. 0 or -errno; *ret is valid until on_done or kube_cancel. */
int kube_send(struct kube_client *c, const struct kube_request *r, const struct kube_handler *h, void *ctx, struct kube_call **ret);
/* The same with b as the body, whatever r says of one; NULL: none. Takes and wipes b in every case; one that is broken is -ENOMEM. */
int kube_send_body(struct kube_client *c, const struct kube_request *r, struct body *b, const struct kube_handler *h, void *ctx,
                   struct kube_call **ret);
void kube_cancel(struct kube_call *call); /* no callback comes after it; allowed in every callback. NULL is welcome */

#endif
