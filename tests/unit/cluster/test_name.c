/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SPIFFE "URI:spiffe://cluster.local/ns/culvert/node/{node}"

static struct name_template template(const char *text)
{
	char error[NAME_ERROR_BYTES] = "";
	struct name_template t;

	if (name_template_parse(text, &t, error) != 0)
		fail_msg("%s", error);
	return t;
}

/* A peer with the names of a text such as "URI:spiffe://a DNS:b". */
static struct tls_peer peer(const char *names)
{
	struct tls_peer p = { .names_count = 0 };
	char text[1024], *save = NULL;

	(void)snprintf(text, sizeof(text), "%s", names);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		struct tls_name *n = &p.names[p.names_count++];

		n->type = word[0] == 'U' ? TLS_NAME_URI : TLS_NAME_DNS;
		(void)snprintf(n->text, sizeof(n->text), "%s", word + 4);
	}
	return p;
}

static struct view *two_nodes(void)
{
	struct addr addresses[2] = { addr_from_v4_be(0x01010101), addr_from_v4_be(0x02020202) };
	struct view_node nodes[2] = { { .name = "node1", .addresses = &addresses[0], .addresses_count = 1 },
		                      { .name = "node2", .addresses = &addresses[1], .addresses_count = 1 } };
	char error[VIEW_ERROR_BYTES];
	struct view *v;

	assert_int_equal(view_create(nodes, 2, NULL, 0, "node1", NULL, &v, error), 0);
	return v;
}

static void a_template_gives_a_nodes_name(void **state)
{
	struct name_template t = template(SPIFFE);
	struct tls_name name;

	(void)state;
	assert_false(t.is_shared);
	assert_int_equal(name_of_node(&t, "node2", &name), 0);
	assert_int_equal(name.type, TLS_NAME_URI);
	assert_string_equal(name.text, "spiffe://cluster.local/ns/culvert/node/node2");
	t = template("DNS:{node}.nodes.example.org");
	assert_int_equal(name_of_node(&t, "node2", &name), 0);
	assert_int_equal(name.type, TLS_NAME_DNS);
	assert_string_equal(name.text, "node2.nodes.example.org");
	t = template("DNS:{node}");
	assert_int_equal(name_of_node(&t, "a.b", &name), 0);
	assert_string_equal(name.text, "a.b");
	t = template("URI:x:{node}?a=b");
	assert_int_equal(name_of_node(&t, "n", &name), 0);
	assert_string_equal(name.text, "x:n?a=b");
}

static void a_name_that_is_too_long_is_refused(void **state)
{
	struct name_template t = template(SPIFFE);
	struct tls_name name = { .text = "as it was" };
	char node[VIEW_NODE_NAME_BYTES];

	(void)state;
	memset(node, 'a', sizeof(node));
	node[sizeof(node) - 1] = '\0';
	assert_int_equal(name_of_node(&t, node, &name), -ENAMETOOLONG);
	assert_string_equal(name.text, "as it was");
	t = template("DNS:{node}");
	assert_int_equal(name_of_node(&t, node, &name), 0);
	assert_string_equal(name.text, node);
}

static void shared_has_no_names(void **state)
{
	struct name_template t = template("shared");
	struct tls_peer p = peer("DNS:anything");
	char error[NAME_ERROR_BYTES] = "";
	struct view *v = two_nodes();
	struct tls_name name;

	(void)state;
	assert_true(t.is_shared);
	assert_int_equal(name_of_node(&t, "node1", &name), -EINVAL);
	assert_true(name_is_node(&t, &p, view_node_by_name(v, "node1")));
	assert_null(name_find_node(&t, &p, v, error));
	assert_string_equal(error, "peer_name is shared: certificates do not tell nodes apart");
	view_unref(v);
}

static void faulty_templates_are_told_apart(void **state)
{
	static const char *const cases[][2] = {
		{ "", "does not say what kind of name it is; URI:..., DNS:... or shared would be right" },
		{ "{node}", "does not say what kind of name it is; URI:..., DNS:... or shared would be right" },
		{ "uri:x:{node}", "does not say what kind of name it is; URI:..., DNS:... or shared would be right" },
		{ "sharing", "does not say what kind of name it is; URI:..., DNS:... or shared would be right" },
		{ "DNS:node",
		  "has no {node}, so that all nodes would have one name; with {node}, or the single word shared, it would be right" },
		{ "DNS:{node}.{node}", "has {node} twice, so that a name could be read in two ways; once would be right" },
		{ "DNS:{node}{node}", "has {node} twice, so that a name could be read in two ways; once would be right" },
		{ "URI:x:{pod}",
		  "{pod} is known only where the nodes come from Kubernetes, and a nodes file can not fill it; {node} would be right" },
		{ "URI:x:{node}/{pod_uid}",
		  "{pod_uid} is known only where the nodes come from Kubernetes, and a nodes file can not fill it; {node} would be right" },
		{ "URI:x:{namespace}/{node}",
		  "{namespace} is known only where the nodes come from Kubernetes, and a nodes file can not fill it; {node} would be right" },
		{ "DNS:{nod}", "has a word in braces that is not known; {node} would be right" },
		{ "DNS:{node", "has a { without a word that is known; {node} would be right" },
		{ "DNS:{a word that is far too long to be one}", "has a { without a word that is known; {node} would be right" },
		{ "DNS:{node}}", "has a character that no host name has" },
		{ "DNS:*.{node}", "has a *, and names are compared byte for byte; {node} stands for the node's name" },
		{ "DNS:{node} ", "has a character that no host name has" },
		{ "DNS:{node}/x", "has a character that no host name has" },
		{ "URI:x:a b{node}", "has a character that no URI has" },
		{ "URI:x:\xc3\xa4{node}", "has a character that no URI has" },
		{ "URI:{node}", "is no URI: it has no scheme in front; URI:spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ "URI://{node}",
		  "is no URI: it has no scheme in front; URI:spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ "URI:1x:{node}",
		  "is no URI: it has no scheme in front; URI:spiffe://cluster.local/ns/culvert/node/{node} would be right" },
	};
	char error[NAME_ERROR_BYTES], text[TLS_NAME_BYTES + 16];
	struct name_template t = { .before = "as it was" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(name_template_parse(cases[i][0], &t, error), -EINVAL);
		assert_string_equal(error, cases[i][1]);
		assert_string_equal(t.before, "as it was");
	}
	(void)snprintf(text, sizeof(text), "DNS:{node}.%0255d", 0);
	assert_int_equal(name_template_parse(text, &t, error), -EINVAL);
	assert_string_equal(error, "is longer than a name can be (255 bytes)");
}

static void a_certificate_is_the_nodes_by_one_equal_name(void **state)
{
	static const struct {
		const char *template, *names;
		bool is_node2;
	} cases[] = {
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node2", true },
		{ SPIFFE, "DNS:other URI:spiffe://cluster.local/ns/culvert/node/node2 DNS:more", true },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node1", false },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node22", false },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/Node2", false },
		{ SPIFFE, "URI:spiffe://CLUSTER.local/ns/culvert/node/node2", false },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/*", false },
		{ SPIFFE, "DNS:spiffe://cluster.local/ns/culvert/node/node2", false },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node2 URI:spiffe://cluster.local/ns/culvert/node/node2", false },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node2 URI:spiffe://a/b", false },
		{ SPIFFE, "", false },
		{ "DNS:{node}", "DNS:node2", true },
		{ "DNS:{node}", "DNS:NODE2", false },
		{ "DNS:{node}", "DNS:*", false },
		{ "DNS:{node}.x", "DNS:node2.x.", false },
	};

	struct view *v = two_nodes();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct name_template t = template(cases[i].template);
		struct tls_peer p = peer(cases[i].names);

		assert_int_equal(name_is_node(&t, &p, view_node_by_name(v, "node2")), cases[i].is_node2);
	}
	view_unref(v);
}

static void a_certificate_leads_back_to_its_node(void **state)
{
	struct name_template t = template(SPIFFE);
	struct tls_peer p = peer("DNS:x URI:spiffe://cluster.local/ns/culvert/node/node2");
	char error[NAME_ERROR_BYTES] = "";
	struct view *v = two_nodes();

	(void)state;
	assert_ptr_equal(name_find_node(&t, &p, v, error), view_node_by_name(v, "node2"));
	t = template("DNS:a.{node}.b");
	p = peer("DNS:a.node1.b");
	assert_ptr_equal(name_find_node(&t, &p, v, error), view_node_by_name(v, "node1"));
	view_unref(v);
}

static void each_wrong_certificate_has_its_sentence(void **state)
{
	static const struct {
		const char *template, *names, *message;
	} cases[] = {
		{ SPIFFE, "",
		  "certificate has no URI name (its names: none); one URI name spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ SPIFFE, "DNS:node2",
		  "certificate has no URI name (its names: DNS:\"node2\"); one URI name spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ "DNS:{node}", "DNS:node1 URI:x:y DNS:node2",
		  "certificate has several DNS names (DNS:\"node1\", DNS:\"node2\"); exactly one would be right" },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/*",
		  "certificate's URI name \"spiffe://cluster.local/ns/culvert/node/*\" is a wildcard; the whole name of one node would be right" },
		{ "DNS:{node}.x", "DNS:*.x", "certificate's DNS name \"*.x\" is a wildcard; the whole name of one node would be right" },
		{ SPIFFE, "URI:spiffe://other/node/node2",
		  "certificate's URI name \"spiffe://other/node/node2\" is not a node's; spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/",
		  "certificate's URI name \"spiffe://cluster.local/ns/culvert/node/\" is not a node's; "
		  "spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ "DNS:a{node}a", "DNS:a", "certificate's DNS name \"a\" is not a node's; a{node}a would be right" },
		{ "DNS:a{node}a", "DNS:aa", "certificate's DNS name \"aa\" is not a node's; a{node}a would be right" },
		{ "DNS:{node}", "DNS:n\x01", "certificate's DNS name \"n\\x01\" has a byte that no name has; {node} would be right" },
		{ SPIFFE, "URI:spiffe://cluster.local/ns/culvert/node/node9",
		  "certificate names node \"node9\", and no node of the cluster has that name" },
	};
	struct view *v = two_nodes();
	char long_name[TLS_NAME_BYTES + 8] = "DNS:", error[NAME_ERROR_BYTES];
	struct name_template t = template("DNS:{node}");
	struct tls_peer p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct name_template of_case = template(cases[i].template);

		p = peer(cases[i].names);
		error[0] = '\0';
		assert_null(name_find_node(&of_case, &p, v, error));
		assert_string_equal(error, cases[i].message);
	}
	memset(long_name + 4, 'a', TLS_NAME_BYTES - 1);
	p = peer(long_name);
	assert_null(name_find_node(&t, &p, v, error));
	assert_non_null(strstr(error, "has a node name that is longer than any node's"));
	view_unref(v);
}

static void long_lists_of_names_are_cut(void **state)
{
	struct name_template t = template("DNS:{node}");
	struct tls_peer p = { .names_count = TLS_NAMES_MAX };
	char error[NAME_ERROR_BYTES];
	struct view *v = two_nodes();

	(void)state;
	for (size_t i = 0; i < TLS_NAMES_MAX; i++) {
		p.names[i].type = TLS_NAME_DNS;
		memset(p.names[i].text, 1, TLS_NAME_BYTES - 1);
	}
	assert_null(name_find_node(&t, &p, v, error));
	assert_non_null(strstr(error, "certificate has several DNS names (DNS:\"\\x01"));
	assert_non_null(strstr(error, "exactly one would be right"));
	view_unref(v);
}

/* --- names after pods --- */

static struct name_template template_of_pods(const char *text)
{
	char error[NAME_ERROR_BYTES] = "";
	struct name_template t;

	if (name_template_parse_kubernetes(text, &t, error) != 0)
		fail_msg("%s", error);
	return t;
}

/* node1 with one daemon, node2 while one takes the place of another, node3 without. */
static struct view *three_nodes(void)
{
	static const struct view_daemon daemons[] = { { "sys", "culvert-a", "uid-a" },
		                                      { "sys", "culvert-b", "uid-b" },
		                                      { "sys", "culvert-c", "uid-c" } };
	struct view_node nodes[] = { { .name = "node1", .daemons = &daemons[0], .daemons_count = 1 },
		                     { .name = "node2", .daemons = &daemons[1], .daemons_count = 2 },
		                     { .name = "node3" } };
	struct view_edit *e;
	struct view *v;
	uint32_t id;

	assert_int_equal(view_edit_begin(NULL, "node1", &e), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(view_edit_put_node(e, &nodes[i], &id), 0);
	assert_int_equal(view_edit_finish(e, &v), 0);
	return v;
}

static void a_node_may_be_named_after_its_pod(void **state)
{
	static const struct {
		const char *template, *names;
		const char *node; /* NULL: nobody's */
	} cases[] = {
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-a", "node1" },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-b", "node2" },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-c DNS:more", "node2" },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/other/pod/uid-a", NULL },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-d", NULL },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-aa", NULL },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "DNS:spiffe://td/ns/sys/pod/uid-a", NULL },
		{ "URI:spiffe://td/ns/{namespace}/pod/{pod_uid}", "URI:spiffe://td/ns/sys/pod/uid-a URI:spiffe://td/ns/sys/pod/uid-b",
		  NULL },
		{ "DNS:{pod}.{namespace}", "DNS:culvert-a.sys", "node1" },
		{ "DNS:{pod}.{namespace}", "DNS:*.sys", NULL },
		{ "URI:x:{namespace}/{node}", "URI:x:sys/node2", "node2" },
		{ "URI:x:{namespace}/{node}", "URI:x:sys/node3", NULL },
		{ "URI:x:{node}", "URI:x:node3", "node3" },
	};
	struct view *v = three_nodes();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct name_template t = template_of_pods(cases[i].template);
		struct tls_peer p = peer(cases[i].names);
		char error[NAME_ERROR_BYTES] = "";
		const struct view_node *found = name_find_node(&t, &p, v, error);

		assert_string_equal(found ? found->name : "", cases[i].node ? cases[i].node : "");
		assert_int_equal(error[0] != '\0', !found);
		for (size_t k = 0; k < view_nodes_count(v); k++)
			assert_int_equal(name_is_node(&t, &p, view_node_at(v, k)), view_node_at(v, k) == found);
	}
	view_unref(v);
}

static void the_name_after_a_pod_needs_the_pod(void **state)
{
	struct name_template t = template_of_pods("URI:spiffe://td/{namespace}/{pod}/{pod_uid}");
	struct view *v = three_nodes();
	struct tls_name name;

	(void)state;
	assert_true(t.is_of_pod);
	assert_int_equal(name_of_node(&t, "node1", &name), -ENOENT);
	assert_int_equal(name_of_daemon(&t, view_node_by_name(v, "node2"), 1, &name), 0);
	assert_string_equal(name.text, "spiffe://td/sys/culvert-c/uid-c");
	assert_int_equal(name_of_daemon(&t, view_node_by_name(v, "node2"), 2, &name), -ENOENT);
	assert_int_equal(name_of_daemon(&t, view_node_by_name(v, "node3"), 0, &name), -ENOENT);
	t = template_of_pods(SPIFFE);
	assert_false(t.is_of_pod);
	assert_int_equal(name_of_daemon(&t, view_node_by_name(v, "node3"), 0, &name), 0);
	assert_int_equal(name_of_daemon(&t, view_node_by_name(v, "node3"), 1, &name), -ENOENT);
	view_unref(v);
}

static void faulty_templates_of_pods_are_told_apart(void **state)
{
	static const char *const cases[][2] = {
		{ "URI:x:{namespace}", "has nothing that tells nodes apart; {node} or {pod_uid} would be right" },
		{ "URI:x:{pod}{pod_uid}", "has two words with nothing between them, so that a name could be read in two ways" },
		{ "URI:x:{pod}/{pod}", "has a word twice, so that a name could be read in two ways" },
		{ "URI:x:{pod}/{nod}", "has a word in braces that is not known; {node}, {pod_uid}, {pod} or {namespace} would be right" },
		{ "URI:x:{pod}/{", "has a { without a word that is known; {node} or {pod_uid} would be right" },
		{ "URI:{pod}", "is no URI: it has no scheme in front; URI:spiffe://cluster.local/ns/culvert/node/{node} would be right" },
		{ "DNS:{pod}/x", "has a character that no host name has" },
		{ "DNS:*.{pod}", "has a *, and names are compared byte for byte; {node} stands for the node's name" },
		{ "{pod}", "does not say what kind of name it is; URI:..., DNS:... or shared would be right" },
		{ "URI:x:y",
		  "has no {node}, so that all nodes would have one name; with {node}, or the single word shared, it would be right" },
	};
	char error[NAME_ERROR_BYTES], text[TLS_NAME_BYTES + 32];
	struct name_template t = { .before = "as it was" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(name_template_parse_kubernetes(cases[i][0], &t, error), -EINVAL);
		assert_string_equal(error, cases[i][1]);
		assert_string_equal(t.before, "as it was");
	}
	(void)snprintf(text, sizeof(text), "DNS:{pod}.%0255d", 0);
	assert_int_equal(name_template_parse_kubernetes(text, &t, error), -EINVAL);
	assert_string_equal(error, "is longer than a name can be (255 bytes)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_template_gives_a_nodes_name),
		cmocka_unit_test(a_name_that_is_too_long_is_refused),
		cmocka_unit_test(shared_has_no_names),
		cmocka_unit_test(faulty_templates_are_told_apart),
		cmocka_unit_test(a_certificate_is_the_nodes_by_one_equal_name),
		cmocka_unit_test(a_certificate_leads_back_to_its_node),
		cmocka_unit_test(each_wrong_certificate_has_its_sentence),
		cmocka_unit_test(long_lists_of_names_are_cut),
		cmocka_unit_test(a_node_may_be_named_after_its_pod),
		cmocka_unit_test(the_name_after_a_pod_needs_the_pod),
		cmocka_unit_test(faulty_templates_of_pods_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
