/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/judge.h"

#include "base/text.h"
#include "kube/message.h"
#include "tls/cert.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The API server puts them into the user's extra where the token is bound to a pod (from 1.16 on), and the node from 1.32 on. */
#define EXTRA_POD_NAME  "authentication.kubernetes.io/pod-name"
#define EXTRA_POD_UID   "authentication.kubernetes.io/pod-uid"
#define EXTRA_NODE_NAME "authentication.kubernetes.io/node-name"

static const char *const reason_words[] = {
	[JUDGE_GOOD] = "Good",
	[JUDGE_WRONG_REQUESTER] = "WrongRequester",
	[JUDGE_UNBOUND_TOKEN] = "UnboundToken",
	[JUDGE_BAD_REQUEST] = "BadRequest",
	[JUDGE_WRONG_USAGES] = "WrongUsages",
	[JUDGE_POD_GONE] = "PodGone",
	[JUDGE_POD_REPLACED] = "PodReplaced",
	[JUDGE_POD_ENDED] = "PodEnded",
	[JUDGE_POD_NOWHERE] = "PodNowhere",
	[JUDGE_WRONG_ACCOUNT] = "WrongAccount",
	[JUDGE_WRONG_NODE] = "WrongNode",
	[JUDGE_WRONG_NAME] = "WrongName",
};
static_assert(sizeof(reason_words) / sizeof(reason_words[0]) == JUDGE_REASONS, "a word for each reason");

static const char *const usages[] = { "digital signature", "client auth", "server auth" };
enum { USAGES = sizeof(usages) / sizeof(usages[0]) };

const char *judge_reason_word(enum judge_reason reason)
{
	return reason_words[reason];
}

__attribute__((format(printf, 3, 4))) static bool refuse(struct judge_refusal *ret, enum judge_reason reason, const char *format, ...)
{
	va_list args;

	ret->reason = reason;
	va_start(args, format);
	vsnprintf(ret->text, sizeof(ret->text), format, args);
	va_end(args);
	return false;
}

static bool copy_text(char *dst, size_t cap_bytes, const char *src)
{
	size_t len = strlen(src);

	if (len >= cap_bytes)
		return false;
	memcpy(dst, src, len + 1);
	return true;
}

/* Exactly these three, each once, in any order. */
static bool has_right_usages(const struct object_request *r)
{
	unsigned seen = 0;

	for (size_t i = 0; i < r->usages_count; i++) {
		size_t k = 0;

		while (k < USAGES && strcmp(r->usages[i], usages[k]) != 0)
			k++;
		if (k == USAGES || seen & 1u << k)
			return false;
		seen |= 1u << k;
	}
	return seen == (1u << USAGES) - 1;
}

bool judge_request(const struct judge_settings *s, const struct object_request *r, struct judge_claim *ret_claim,
                   struct judge_refusal *ret_refusal)
{
	char wanted[2 * JUDGE_NAME_BYTES + 32], quoted[TEXT_QUOTE_BYTES], fault[CSR_FAULT_BYTES];
	const char *pod = message_request_extra(r, EXTRA_POD_NAME), *uid = message_request_extra(r, EXTRA_POD_UID);
	const char *node = message_request_extra(r, EXTRA_NODE_NAME);
	struct judge_claim claim = { 0 };

	snprintf(wanted, sizeof(wanted), "system:serviceaccount:%s:%s", s->name_space, s->account);
	if (strcmp(r->username, wanted) != 0)
		return refuse(ret_refusal, JUDGE_WRONG_REQUESTER, "it was made by %s; only %s may ask for a node's certificate",
		              text_quote(r->username, quoted), wanted);
	if (!pod || !uid || !copy_text(claim.pod, sizeof(claim.pod), pod) || !copy_text(claim.pod_uid, sizeof(claim.pod_uid), uid) ||
	    !text_is_subdomain(pod) || !uid[0] || (node && !copy_text(claim.token_node, sizeof(claim.token_node), node)))
		return refuse(ret_refusal, JUDGE_UNBOUND_TOKEN,
		              "the token that made it does not say of which pod it is; one that is bound to the daemon's pod (a projected "
		              "volume) is right");
	if (!has_right_usages(r))
		return refuse(ret_refusal, JUDGE_WRONG_USAGES, "spec.usages must be exactly \"%s\", \"%s\" and \"%s\"", usages[0],
		              usages[1], usages[2]);
	if (csr_read_pem(r->pem ? r->pem : "", r->pem_bytes, &claim.csr, fault))
		return refuse(ret_refusal, JUDGE_BAD_REQUEST, "the request %s", fault);
	*ret_claim = claim;
	return true;
}

bool judge_pod(const struct judge_settings *s, const struct judge_claim *claim, const struct object_pod *pod,
               struct judge_refusal *ret_refusal)
{
	char asked[CERT_NAME_TEXT_BYTES], right[CERT_NAME_TEXT_BYTES];
	struct tls_name name;

	if (!pod)
		return refuse(ret_refusal, JUDGE_POD_GONE, "the pod %s/%s that its token is bound to is not there any more", s->name_space,
		              claim->pod);
	if (strcmp(pod->meta.uid, claim->pod_uid) != 0)
		return refuse(ret_refusal, JUDGE_POD_REPLACED,
		              "its token is bound to the pod %s/%s with the UID %s, but now that pod has the UID %.64s", s->name_space,
		              claim->pod, claim->pod_uid, pod->meta.uid);
	/* The daemon's own request may come before its kubelet has told that it runs: a pod that is bound to a node and has not ended is
	 * taken. Its token was given out by that node's kubelet, which is what counts. */
	if (pod->meta.is_deleting || pod->phase == OBJECT_SUCCEEDED || pod->phase == OBJECT_FAILED)
		return refuse(ret_refusal, JUDGE_POD_ENDED, "the pod %s/%s that its token is bound to %s", s->name_space, claim->pod,
		              pod->meta.is_deleting ? "is being deleted" : "has ended");
	if (strcmp(pod->account, s->account) != 0)
		return refuse(ret_refusal, JUDGE_WRONG_ACCOUNT, "the pod %s/%s runs as the service account %.64s; %s is right",
		              s->name_space, claim->pod, pod->account, s->account);
	if (!pod->node[0])
		return refuse(ret_refusal, JUDGE_POD_NOWHERE, "the pod %s/%s that its token is bound to runs on no node", s->name_space,
		              claim->pod);
	if (claim->token_node[0] && strcmp(claim->token_node, pod->node) != 0)
		return refuse(ret_refusal, JUDGE_WRONG_NODE, "its token was given out on the node %s, but the pod %s/%s runs on %s",
		              claim->token_node, s->name_space, claim->pod, pod->node);
	if (name_of_node(s->name, pod->node, &name))
		return refuse(ret_refusal, JUDGE_WRONG_NAME, "the name of node %s would be longer than %d bytes", pod->node,
		              TLS_NAME_BYTES - 1);
	if (claim->csr.name.type != name.type || strcmp(claim->csr.name.text, name.text) != 0)
		return refuse(ret_refusal, JUDGE_WRONG_NAME, "it asks for the name %s, but its pod %s/%s runs on node %s, whose name is %s",
		              cert_name_text(&claim->csr.name, asked), s->name_space, claim->pod, pod->node, cert_name_text(&name, right));
	return true;
}
