/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests and their pods: the one that is right, and each way to be wrong. */
#include "issuer/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UID "0b1c2d3e-0000-4000-8000-000000000001"

/* A request and its pod, right until a test changes something. */
struct scene {
	struct name_template name;
	struct judge_settings settings;
	struct pem_text key, pem;
	const char *usages[4];
	const char *pod_name[2], *pod_uid[2], *node_name[1];
	struct object_extra extra[4];
	struct object_request request;
	struct object_pod pod;
};

static void scene_ask(struct scene *s, enum tls_name_type type, const char *text)
{
	struct tls_name name = { .type = type };

	snprintf(name.text, sizeof(name.text), "%s", text);
	pem_free(&s->key);
	pem_free(&s->pem);
	assert_int_equal(csr_make(&name, &s->key, &s->pem), 0);
	s->request.pem = s->pem.text;
	s->request.pem_bytes = s->pem.len_bytes;
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	char error[NAME_ERROR_BYTES];

	assert_non_null(s);
	assert_int_equal(name_template_parse("URI:spiffe://cluster.local/ns/culvert/node/{node}", &s->name, error), 0);
	s->settings = (struct judge_settings){ .name_space = "culvert", .account = "culvert", .name = &s->name };
	s->usages[0] = "digital signature";
	s->usages[1] = "client auth";
	s->usages[2] = "server auth";
	s->pod_name[0] = "culvert-x7k2p";
	s->pod_uid[0] = UID;
	s->node_name[0] = "n1";
	s->extra[0] = (struct object_extra){ "authentication.kubernetes.io/pod-name", s->pod_name, 1 };
	s->extra[1] = (struct object_extra){ "authentication.kubernetes.io/pod-uid", s->pod_uid, 1 };
	s->extra[2] = (struct object_extra){ "authentication.kubernetes.io/node-name", s->node_name, 1 };
	s->request = (struct object_request){
		.meta = { .name = "culvert-n1-abc", .uid = "u", .version = "1", .name_space = "" },
		.signer = "culvert.dev/node",
		.username = "system:serviceaccount:culvert:culvert",
		.user_uid = "",
		.usages = s->usages,
		.usages_count = 3,
		.extra = s->extra,
		.extra_count = 2,
		.verdict = "",
	};
	scene_ask(s, TLS_NAME_URI, "spiffe://cluster.local/ns/culvert/node/n1");
	s->pod = (struct object_pod){
		.meta = { .name_space = "culvert", .name = "culvert-x7k2p", .uid = UID, .version = "2" },
		.node = "n1",
		.account = "culvert",
		.phase = OBJECT_RUNNING,
		.is_host_network = true,
		.is_culvert = true,
	};
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	pem_free(&s->key);
	pem_free(&s->pem);
	free(s);
	return 0;
}

static void expect_good(const struct scene *s)
{
	struct judge_refusal refusal = { .text = "" };
	struct judge_claim claim;

	if (!judge_request(&s->settings, &s->request, &claim, &refusal) || !judge_pod(&s->settings, &claim, &s->pod, &refusal))
		fail_msg("%s", refusal.text);
}

static void expect_said(const struct judge_refusal *refusal, enum judge_reason reason, const char *wanted)
{
	if (refusal->reason != reason || !strstr(refusal->text, wanted))
		fail_msg("\"%s\" (%s) is not in: %s: %s", wanted, judge_reason_word(reason), judge_reason_word(refusal->reason),
		         refusal->text);
}

static void expect_bad_request(const struct scene *s, enum judge_reason reason, const char *wanted)
{
	struct judge_refusal refusal = { .text = "" };
	struct judge_claim claim;

	assert_false(judge_request(&s->settings, &s->request, &claim, &refusal));
	expect_said(&refusal, reason, wanted);
}

static void expect_bad_pod(const struct scene *s, const struct object_pod *pod, enum judge_reason reason, const char *wanted)
{
	struct judge_refusal refusal = { .text = "" };
	struct judge_claim claim;

	if (!judge_request(&s->settings, &s->request, &claim, &refusal))
		fail_msg("%s", refusal.text);
	assert_false(judge_pod(&s->settings, &claim, pod, &refusal));
	expect_said(&refusal, reason, wanted);
}

static void test_good(void **state)
{
	struct scene *s = *state;

	expect_good(s);
	s->pod.phase = OBJECT_PENDING; /* its kubelet has not told yet */
	expect_good(s);
	s->usages[0] = "server auth";
	s->usages[2] = "digital signature";
	expect_good(s);
	s->request.extra_count = 3; /* with the node's name */
	expect_good(s);
}

static void test_requester(void **state)
{
	static const char *const others[] = {
		"system:serviceaccount:culvert:default",
		"system:serviceaccount:other:culvert",
		"system:node:n1",
		"admin",
		"system:serviceaccount:culvert:culvert2",
		"",
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		s->request.username = others[i];
		expect_bad_request(s, JUDGE_WRONG_REQUESTER, "only system:serviceaccount:culvert:culvert may ask");
	}
	s->request.username = "evil\nname";
	expect_bad_request(s, JUDGE_WRONG_REQUESTER, "\"evil\\x0aname\"");
}

static void test_token(void **state)
{
	struct scene *s = *state;
	char longest[400];

	s->request.extra_count = 0;
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
	s->request.extra_count = 1;
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
	s->request.extra_count = 2;
	s->pod_name[1] = "other";
	s->extra[0].values_count = 2;
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
	s->extra[0].values_count = 1;
	s->pod_name[0] = "../secrets/culvert-issuer"; /* it becomes a part of a path */
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	s->pod_name[0] = longest;
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
	s->pod_name[0] = "culvert-x7k2p";
	s->pod_uid[0] = "";
	expect_bad_request(s, JUDGE_UNBOUND_TOKEN, "bound to the daemon's pod");
}

static void test_usages(void **state)
{
	struct scene *s = *state;

	s->request.usages_count = 2;
	expect_bad_request(s, JUDGE_WRONG_USAGES, "must be exactly \"digital signature\", \"client auth\" and \"server auth\"");
	s->request.usages_count = 4;
	s->usages[3] = "cert sign";
	expect_bad_request(s, JUDGE_WRONG_USAGES, "must be exactly");
	s->usages[3] = "client auth";
	expect_bad_request(s, JUDGE_WRONG_USAGES, "must be exactly");
	s->request.usages_count = 3;
	s->usages[2] = "client auth";
	expect_bad_request(s, JUDGE_WRONG_USAGES, "must be exactly");
	s->request.usages_count = 0;
	expect_bad_request(s, JUDGE_WRONG_USAGES, "must be exactly");
}

static void test_request(void **state)
{
	struct scene *s = *state;

	s->request.pem_bytes /= 2;
	expect_bad_request(s, JUDGE_BAD_REQUEST, "the request is cut");
	s->request.pem = NULL;
	s->request.pem_bytes = 0;
	expect_bad_request(s, JUDGE_BAD_REQUEST, "the request is empty");
	s->request.pem = s->key.text;
	s->request.pem_bytes = s->key.len_bytes;
	expect_bad_request(s, JUDGE_BAD_REQUEST, "the request must be one PEM block CERTIFICATE REQUEST");
}

static void test_pod(void **state)
{
	struct scene *s = *state;
	struct object_pod pod = s->pod;

	expect_bad_pod(s, NULL, JUDGE_POD_GONE, "the pod culvert/culvert-x7k2p");
	pod.meta.uid = "another";
	expect_bad_pod(s, &pod, JUDGE_POD_REPLACED, "now that pod has the UID another");
	pod = s->pod;
	pod.meta.is_deleting = true;
	expect_bad_pod(s, &pod, JUDGE_POD_ENDED, "is being deleted");
	pod = s->pod;
	pod.phase = OBJECT_SUCCEEDED;
	expect_bad_pod(s, &pod, JUDGE_POD_ENDED, "has ended");
	pod.phase = OBJECT_FAILED;
	expect_bad_pod(s, &pod, JUDGE_POD_ENDED, "has ended");
	pod = s->pod;
	pod.account = "default";
	expect_bad_pod(s, &pod, JUDGE_WRONG_ACCOUNT, "runs as the service account default; culvert is right");
	pod = s->pod;
	pod.node = "";
	expect_bad_pod(s, &pod, JUDGE_POD_NOWHERE, "runs on no node");
	s->request.extra_count = 3;
	pod = s->pod;
	pod.node = "n2";
	expect_bad_pod(s, &pod, JUDGE_WRONG_NODE, "given out on the node n1, but the pod culvert/culvert-x7k2p runs on n2");
}

static void test_name(void **state)
{
	static const char *const others[] = {
		"spiffe://cluster.local/ns/culvert/node/n2", "spiffe://cluster.local/ns/culvert/node/n1/",
		"spiffe://cluster.local/ns/culvert/node/N1", "spiffe://cluster.local/ns/culvert/node/n1.x",
		"spiffe://cluster.local/ns/culvert/node/n",  "spiffe://cluster.local/ns/culvert/node/*",
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		scene_ask(s, TLS_NAME_URI, others[i]);
		expect_bad_pod(s, &s->pod, JUDGE_WRONG_NAME,
		               "runs on node n1, whose name is URI:spiffe://cluster.local/ns/culvert/node/n1");
	}
	scene_ask(s, TLS_NAME_DNS, "spiffe://cluster.local/ns/culvert/node/n1");
	expect_bad_pod(s, &s->pod, JUDGE_WRONG_NAME, "it asks for the name DNS:");
	/* The name is right where the pod runs, not where the request says. */
	s->pod.node = "n2";
	scene_ask(s, TLS_NAME_URI, "spiffe://cluster.local/ns/culvert/node/n2");
	expect_good(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requester, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_usages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pod, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name, setup, teardown),
	};

	if (tls_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
