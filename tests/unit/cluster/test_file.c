/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Seven lines; what a test adds begins in the eighth. */
#define TWO_NODES \
	"nodes:\n" \
	"- name: node1\n" \
	"  addresses: [172.30.0.1, \"fd30::1\"]\n" \
	"  pods: [10.245.1.0/24, \"fd45:1::/64\"]\n" \
	"- name: node2\n" \
	"  addresses: [172.30.0.2]\n" \
	"  pods: []\n"

static struct view *parse(const char *text, const struct view *before)
{
	char error[VIEW_ERROR_BYTES] = "";
	struct view *v;

	if (nodes_file_parse("n", text, strlen(text), NULL, 0, "node1", before, &v, error) != 0)
		fail_msg("%s", error);
	return v;
}

static void refuse(const char *text, const char *message)
{
	char error[VIEW_ERROR_BYTES] = "";
	struct view *v = NULL;

	assert_int_equal(nodes_file_parse("n", text, strlen(text), NULL, 0, "node1", NULL, &v, error), -EINVAL);
	assert_string_equal(error, message);
	assert_null(v);
}

static void a_file_becomes_a_view(void **state)
{
	struct view *v = parse(TWO_NODES, NULL);
	const struct view_node *n = view_self(v);
	char text[PREFIX_TEXT_BYTES];

	(void)state;
	assert_int_equal(view_nodes_count(v), 2);
	assert_string_equal(n->name, "node1");
	assert_int_equal(n->addresses_count, 2);
	assert_string_equal(addr_print(&n->addresses[1], text), "fd30::1");
	assert_int_equal(n->pods_count, 2);
	assert_string_equal(prefix_print(&n->pods[0], text), "10.245.1.0/24");
	n = view_node_by_name(v, "node2");
	assert_int_equal(n->addresses_count, 1);
	assert_int_equal(n->pods_count, 0);
	view_unref(v);
}

static void ids_go_from_view_to_view(void **state)
{
	struct view *first = parse(TWO_NODES, NULL), *second;

	(void)state;
	second = parse("nodes:\n- {name: a, addresses: [172.30.0.9], pods: []}\n- {name: node1, addresses: [172.30.0.1], pods: []}\n",
	               first);
	assert_int_equal(view_self(second)->id, view_self(first)->id);
	assert_int_equal(view_node_by_name(second, "a")->id, 3);
	view_unref(first);
	view_unref(second);
}

static void the_pod_space_is_handed_on(void **state)
{
	struct prefix space;
	struct addr a;
	char error[VIEW_ERROR_BYTES];
	struct view *v;

	(void)state;
	assert_int_equal(prefix_parse("10.245.0.0/16", &space), 0);
	assert_int_equal(addr_parse("10.245.9.9", &a), 0);
	assert_int_equal(nodes_file_parse("n", TWO_NODES, strlen(TWO_NODES), &space, 1, "node2", NULL, &v, error), 0);
	assert_int_equal(view_lookup(v, &a).kind, VIEW_POD_SPACE);
	assert_string_equal(view_self(v)->name, "node2");
	view_unref(v);
}

static void pods_of_a_node_around_the_pod_space_are_that_nodes(void **state)
{
	static const char text[] = "nodes:\n- {name: node1, addresses: [172.30.0.1], pods: [10.244.0.0/15]}\n";
	char error[VIEW_ERROR_BYTES] = "";
	struct view_answer answer;
	struct prefix space;
	struct view *v;
	struct addr a;

	(void)state;
	assert_int_equal(prefix_parse("10.245.0.0/16", &space), 0);
	assert_int_equal(nodes_file_parse("n", text, sizeof(text) - 1, &space, 1, "node1", NULL, &v, error), 0);
	assert_int_equal(addr_parse("10.245.9.9", &a), 0);
	answer = view_lookup(v, &a);
	assert_int_equal(answer.kind, VIEW_POD);
	assert_string_equal(answer.owner->name, "node1");
	view_unref(v);
}

static void faults_name_the_line_and_what_would_be_right(void **state)
{
	static const char *const cases[][2] = {
		{ "", "n:1: nothing in it; nodes: with a list of nodes would be right" },
		{ "# nothing\n", "n:1: nothing in it; nodes: with a list of nodes would be right" },
		{ "- a\n", "n:1: begins with a list; nodes: with a list of nodes would be right" },
		{ "{}\n", "n:1: has no nodes; nodes: with a list of nodes would be right" },
		{ "node:\n", "n:1: key \"node\" is not known; is nodes meant?" },
		{ "nodes: []\nextra: 1\n", "n:2: key \"extra\" is not known; nodes would be right" },
		{ "nodes:\n", "n:1: nodes is empty; a list of nodes would be right" },
		{ "nodes: {}\n", "n:1: nodes is a map; a list of nodes would be right" },
		{ "nodes: []\n", "n: this node, \"node1\", is not among the 0 nodes" },
		{ "nodes:\n- node1\n", "n:2: a node is a text; a map with name, addresses and pods would be right" },
		{ TWO_NODES "- addresses: []\n", "n:8: a node without name; name: node1 would be right" },
		{ TWO_NODES "- name:\n  pods: []\n", "n:8: name has no value; a text such as node1 would be right" },
		{ TWO_NODES "- name: [a]\n", "n:8: name is a list; a text such as node1 would be right" },
		{ TWO_NODES "- name: Node_3\n  addresses: [172.30.0.3]\n  pods: []\n",
		  "n:8: name \"Node_3\" is not a node's; small letters, digits, and inside them - and . would be right, such as node1" },
		{ TWO_NODES "- name: node3\n  pods: []\n", "n:8: node node3 has no addresses; addresses: [172.30.0.1] would be right" },
		{ TWO_NODES "- name: node3\n  addresses: []\n  pods: []\n",
		  "n:9: node node3 has no address; at least the one where its tunnels are reached would be right" },
		{ TWO_NODES "- name: node3\n  addresses: 172.30.0.3\n  pods: []\n",
		  "n:9: addresses of node node3 is a text; a list such as [172.30.0.1] would be right" },
		{ TWO_NODES "- name: node3\n  addresses:\n  - 172.30.0.3\n  - node3.example.org\n  pods: []\n",
		  "n:11: \"node3.example.org\" in addresses is no IP address; one such as 172.30.0.1 or fd30::1 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3/24]\n  pods: []\n",
		  "n:9: \"172.30.0.3/24\" in addresses is no IP address; one such as 172.30.0.1 or fd30::1 would be right" },
		{ TWO_NODES "- name: node3\n  addresses:\n  -\n  pods: []\n",
		  "n:10: addresses has an entry with nothing in it; one such as 172.30.0.1 or fd30::1 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [[172.30.0.3]]\n  pods: []\n",
		  "n:9: addresses has a list where an entry such as 172.30.0.1 or fd30::1 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n",
		  "n:8: node node3 has no pods; pods: [10.245.1.0/24], or pods: [] for none, would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods:\n",
		  "n:10: pods of node node3 is empty; a list such as [10.245.1.0/24], or [] for none, would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods: [10.245.3.1/24]\n",
		  "n:10: \"10.245.3.1/24\" in pods has bits set behind its length; 10.245.3.0/24 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods: [\"::/0\"]\n",
		  "n:10: \"::/0\" in pods is too wide for an IPv6 prefix; 2000::/3 or fc00::/7 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods: [pods]\n",
		  "n:10: \"pods\" in pods is no prefix; 10.245.1.0/24, fd45:1::/64 or one address would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods: [{}]\n",
		  "n:10: pods has a map where an entry such as 10.245.1.0/24 or fd45:1::/64 would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3]\n  pods:\n  - 10.245.3.0/24\n  - 10.245.1.128/25\n",
		  "n:12: pods' prefix 10.245.1.128/25 of node node3 lies inside pods' prefix 10.245.1.0/24 of node node1; one owner would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3,\n    172.30.0.2]\n  pods: []\n",
		  "n:10: address 172.30.0.2 of node node3 is also an address of node node2; one owner would be right" },
		{ TWO_NODES "- name: node2\n  addresses: [172.30.0.3]\n  pods: []\n",
		  "n:8: node node2 is there twice; once, with all its addresses and pods, would be right" },
		{ TWO_NODES "- name: node3\n  name: node4\n", "n:9: key \"name\" is there twice (first in line 8); once would be right" },
		{ TWO_NODES "- name: node3\n  adresses: [172.30.0.3]\n", "n:9: key \"adresses\" is not known; is addresses meant?" },
		{ TWO_NODES "- name: node3\n  zone: a\n", "n:9: key \"zone\" is not known; name, addresses or pods would be right" },
		{ TWO_NODES "- name: node3\n  addresses: [172.30.0.3\n  pods: []\n",
		  "n:10: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that begins in line 9)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refuse(cases[i][0], cases[i][1]);
}

static void a_faulty_name_can_not_colour_another_message(void **state)
{
	(void)state;
	refuse("nodes:\n- name: \"a\\e[1m\"\n  addresses: x\n",
	       "n:2: name \"a\\x1b[1m\" is not a node's; small letters, digits, and inside them - and . would be right, such as node1");
}

static void names_that_are_too_long_are_refused(void **state)
{
	char text[1024], message[512];

	(void)state;
	(void)snprintf(text, sizeof(text), "nodes:\n- name: %0254d\n", 0);
	(void)snprintf(message, sizeof(message), "n:2: name \"%080d...\" is longer than 253 bytes", 0);
	refuse(text, message);
}

static void a_file_is_loaded(void **state)
{
	char path[] = "/tmp/culvert-test-nodes-XXXXXX", error[VIEW_ERROR_BYTES], expected[VIEW_ERROR_BYTES];
	int fd = mkstemp(path);
	struct view *v;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, TWO_NODES, strlen(TWO_NODES)), strlen(TWO_NODES));
	assert_int_equal(nodes_file_load(path, NULL, 0, "node1", NULL, &v, error), 0);
	assert_int_equal(view_nodes_count(v), 2);
	view_unref(v);
	assert_int_equal(nodes_file_load(path, NULL, 0, "node3", NULL, &v, error), -EINVAL);
	(void)snprintf(expected, sizeof(expected), "%s: this node, \"node3\", is not among the 2 nodes; is node1 meant?", path);
	assert_string_equal(error, expected);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(nodes_file_load(path, NULL, 0, "node1", NULL, &v, error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_becomes_a_view),
		cmocka_unit_test(ids_go_from_view_to_view),
		cmocka_unit_test(the_pod_space_is_handed_on),
		cmocka_unit_test(pods_of_a_node_around_the_pod_space_are_that_nodes),
		cmocka_unit_test(faults_name_the_line_and_what_would_be_right),
		cmocka_unit_test(a_faulty_name_can_not_colour_another_message),
		cmocka_unit_test(names_that_are_too_long_are_refused),
		cmocka_unit_test(a_file_is_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
