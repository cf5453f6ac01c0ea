/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST "node: node1\nidentity: {directory: /etc/culvert/identity}\nnodes: {file: /etc/culvert/nodes.yaml}\n"

static void parse(const char *text, struct config *ret)
{
	char error[CONFIG_ERROR_BYTES] = "";

	if (config_parse("c", text, strlen(text), NULL, ret, error) != 0)
		fail_msg("%s", error);
}

static char *print(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(c, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void the_least_file_has_the_defaults(void **state)
{
	char listen[ENDPOINT_TEXT_BYTES];
	struct config c;

	(void)state;
	parse(LEAST, &c);
	assert_string_equal(c.node, "node1");
	assert_string_equal(c.runtime_directory, "/run/culvert");
	assert_string_equal(c.kernel.bpffs, "/sys/fs/bpf");
	assert_string_equal(c.kernel.sysctl, "/proc/sys/net");
	assert_string_equal(c.identity.directory, "/etc/culvert/identity");
	assert_string_equal(c.identity.peer_name, "URI:spiffe://cluster.local/ns/culvert/node/{node}");
	assert_string_equal(c.nodes.file, "/etc/culvert/nodes.yaml");
	assert_int_equal(c.tunnel.port, 7117);
	assert_int_equal(c.tunnel.workers, 0);
	assert_int_equal(c.tunnel.tunnels_per_peer, 4);
	assert_int_equal(c.tunnel.peer_timeout_ms, 120000);
	assert_int_equal(c.tunnel.drain_timeout_ms, 30000);
	assert_int_equal(c.tunnel.idle_timeout_ms, 600000);
	assert_int_equal(c.tunnel.memory_bytes, 512 << 20);
	assert_null(c.capture.devices.names);
	assert_int_equal(c.capture.mode, CONFIG_STRICT);
	assert_int_equal(c.capture.connect, CONFIG_FAITHFUL);
	assert_int_equal(c.capture.older_flows, CONFIG_OLDER_KEEP);
	assert_int_equal(c.capture.cluster_pods.count, 0);
	assert_int_equal(c.capture.exclude.count, 0);
	assert_true(c.metrics.listen.is_on);
	assert_string_equal(endpoint_print(&c.metrics.listen.endpoint, listen), "127.0.0.1:9117");
	assert_int_equal(c.log.level, LOG_INFO);
	assert_int_equal(config_line(&c, "identity.directory"), 2);
	assert_int_equal(config_line(&c, "tunnel.port"), 0);
	assert_int_equal(config_line(&c, "no.such"), 0);
	config_done(&c);
	assert_string_equal(c.node, "");
}

static const char all_keys[] = "node: n2\n"
			       "runtime_directory: /run/culvert_2\n"
			       "kernel:\n"
			       "  bpffs: /host/bpf\n"
			       "  sysctl: /host/sysctl\n"
			       "identity:\n"
			       "  directory: \"/etc/a \\\"b\\\"\"\n"
			       "  peer_name: shared\n"
			       "nodes:\n"
			       "  file: /n\n"
			       "tunnel:\n"
			       "  port: 65535\n"
			       "  workers: 8\n"
			       "  tunnels_per_peer: 1\n"
			       "  memory: 1536KiB\n"
			       "  peer_timeout: 1500ms\n"
			       "  drain_timeout: 0s\n"
			       "  idle_timeout: 24h\n"
			       "capture:\n"
			       "  devices: [eth0, br-1]\n"
			       "  mode: lockdown\n"
			       "  connect: optimistic\n"
			       "  older_flows: reset\n"
			       "  cluster_pods: [10.245.0.0/16, 'fd45::/32']\n"
			       "  exclude: [10.1.0.0/16, 'fd00::/8', tcp/9100, 10.2.3.4]\n"
			       "metrics:\n"
			       "  listen: ''\n"
			       "log:\n"
			       "  level: debug\n";

static void every_key_is_taken(void **state)
{
	char text[PREFIX_TEXT_BYTES];
	struct config c;

	(void)state;
	parse(all_keys, &c);
	assert_string_equal(c.kernel.bpffs, "/host/bpf");
	assert_string_equal(c.kernel.sysctl, "/host/sysctl");
	assert_string_equal(c.identity.directory, "/etc/a \"b\"");
	assert_int_equal(c.tunnel.port, 65535);
	assert_int_equal(c.tunnel.workers, 8);
	assert_int_equal(c.tunnel.tunnels_per_peer, 1);
	assert_int_equal(c.tunnel.memory_bytes, 1536 << 10);
	assert_int_equal(c.tunnel.peer_timeout_ms, 1500);
	assert_int_equal(c.tunnel.drain_timeout_ms, 0);
	assert_int_equal(c.tunnel.idle_timeout_ms, 86400000);
	assert_int_equal(c.capture.devices.count, 2);
	assert_string_equal(c.capture.devices.names[1], "br-1");
	assert_int_equal(c.capture.mode, CONFIG_LOCKDOWN);
	assert_int_equal(c.capture.older_flows, CONFIG_OLDER_RESET);
	assert_int_equal(c.capture.cluster_pods.count, 2);
	assert_string_equal(prefix_print(&c.capture.cluster_pods.items[1], text), "fd45::/32");
	assert_int_equal(c.capture.exclude.count, 4);
	assert_false(c.capture.exclude.items[1].is_port);
	assert_string_equal(prefix_print(&c.capture.exclude.items[1].prefix, text), "fd00::/8");
	assert_true(c.capture.exclude.items[2].is_port);
	assert_int_equal(c.capture.exclude.items[2].port, 9100);
	assert_false(c.metrics.listen.is_on);
	assert_int_equal(c.log.level, LOG_DEBUG);
	config_done(&c);
}

static void what_is_printed_reads_back(void **state)
{
	static const char *const texts[] = { LEAST, all_keys };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct config c, again;
		char *first, *second;

		parse(texts[i], &c);
		first = print(&c);
		parse(first, &again);
		second = print(&again);
		assert_string_equal(first, second);
		assert_int_equal(again.tunnel.memory_bytes, c.tunnel.memory_bytes);
		assert_int_equal(again.tunnel.drain_timeout_ms, c.tunnel.drain_timeout_ms);
		assert_string_equal(again.identity.directory, c.identity.directory);
		assert_int_equal(again.metrics.listen.is_on, c.metrics.listen.is_on);
		assert_int_equal(again.capture.exclude.count, c.capture.exclude.count);
		free(first);
		free(second);
		config_done(&c);
		config_done(&again);
	}
}

static void a_section_may_be_empty(void **state)
{
	struct config c;

	(void)state;
	parse(LEAST "tunnel:\n#  port: 1\nlog: {}\n", &c);
	assert_int_equal(c.tunnel.port, 7117);
	config_done(&c);
}

/* LEAST and one more line, the fourth. */
static void each_fault_has_its_sentence(void **state)
{
	static const char *const cases[][2] = {
		{ "tunel: {port: 1}", "c:4: key \"tunel\" is not known; is tunnel meant?" },
		{ "tunnel: {prot: 1}", "c:4: key \"tunnel.prot\" is not known; is tunnel.port meant?" },
		{ "port: 1", "c:4: key \"port\" is not known; is tunnel.port meant?" },
		{ "tunnel: {retries: 1}",
		  "c:4: key \"tunnel.retries\" is not known; the keys here are port, workers, tunnels_per_peer, memory, peer_timeout, drain_timeout, idle_timeout" },
		{ "node: x", "c:4: key \"node\" is there twice (first in line 1); once would be right" },
		{ "tunnel: {port: 0}", "c:4: tunnel.port: \"0\" is out of range; a number from 1 to 65535 would be right" },
		{ "tunnel: {port: 65536}", "c:4: tunnel.port: \"65536\" is out of range; a number from 1 to 65535 would be right" },
		{ "tunnel: {port: 99999999999999999999}",
		  "c:4: tunnel.port: \"99999999999999999999\" is out of range; a number from 1 to 65535 would be right" },
		{ "tunnel: {port: 7e3}", "c:4: tunnel.port: \"7e3\" is no number; a number from 1 to 65535 would be right" },
		{ "tunnel: {port: [1]}", "c:4: tunnel.port: is a list; a number from 1 to 65535 would be right" },
		{ "tunnel: {port: }", "c:4: tunnel.port: has no value; a number from 1 to 65535 would be right" },
		{ "tunnel: {tunnels_per_peer: 0}",
		  "c:4: tunnel.tunnels_per_peer: \"0\" is out of range; a number from 1 to 4 would be right" },
		{ "tunnel: {workers: 9}", "c:4: tunnel.workers: \"9\" is out of range; a number from 0 to 8 would be right" },
		{ "tunnel: {peer_timeout: 30}",
		  "c:4: tunnel.peer_timeout: \"30\" has no unit; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {peer_timeout: 30sec}",
		  "c:4: tunnel.peer_timeout: \"30sec\" has a unit that is not known; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {peer_timeout: soon}",
		  "c:4: tunnel.peer_timeout: \"soon\" is no duration; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {drain_timeout: 61m}",
		  "c:4: tunnel.drain_timeout: \"61m\" is out of range; a duration from 0s to 1h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {idle_timeout: 99999999999999999999999999h}",
		  "c:4: tunnel.idle_timeout: \"99999999999999999999999999h\" is out of range; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {idle_timeout: 18446744073709551615h}",
		  "c:4: tunnel.idle_timeout: \"18446744073709551615h\" is out of range; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right" },
		{ "tunnel: {memory: 1MB}",
		  "c:4: tunnel.memory: \"1MB\" has a unit that is not known; a size from 1MiB to 1TiB, such as 512KiB, 256MiB or 1GiB would be right" },
		{ "tunnel: {memory: 1KiB}",
		  "c:4: tunnel.memory: \"1KiB\" is out of range; a size from 1MiB to 1TiB, such as 512KiB, 256MiB or 1GiB would be right" },
		{ "tunnel: 7117", "c:4: tunnel: is a text; a map with keys such as port would be right" },
		{ "runtime_directory: run",
		  "c:4: runtime_directory: \"run\" is no absolute path; an absolute path of at most 95 bytes whose last part has only "
		  "letters, digits, - and _, such as /run/culvert would be right" },
		{ "kernel: { bpffs: bpf }", "c:4: kernel.bpffs: \"bpf\" is no absolute path; an absolute path would be right" },
		{ "runtime_directory: /run/a.b",
		  "c:4: runtime_directory: \"/run/a.b\" has another last part than can be named in the kernel's bpffs; an absolute path "
		  "of at most 95 bytes whose last part has only letters, digits, - and _, such as /run/culvert would be right" },
		{ "runtime_directory: /",
		  "c:4: runtime_directory: \"/\" has another last part than can be named in the kernel's bpffs; an absolute path "
		  "of at most 95 bytes whose last part has only letters, digits, - and _, such as /run/culvert would be right" },
		{ "runtime_directory: /0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
		  "c:4: runtime_directory: \"/0123456789012345678901234567890123456789012345678901234567890123456789012345678...\" is too long; an absolute path of at "
		  "most 95 bytes whose last part has only letters, digits, - and _, such as /run/culvert would be right" },
		{ "runtime_directory: \"/run/\\n\"",
		  "c:4: runtime_directory: \"/run/\\x0a\" has a byte that is not printable ASCII; an absolute path of at most 95 bytes whose last part has "
		  "only letters, digits, - and _, such as /run/culvert would be right" },
		{ "identity: {directory: \"/\\x81\"}", "c:4: key \"identity\" is there twice (first in line 2); once would be right" },
		{ "capture: {mode: Strict}",
		  "c:4: capture.mode: \"Strict\" is not known; permissive or strict or lockdown would be right" },
		{ "capture: {mode: {}}", "c:4: capture.mode: is a map; permissive or strict or lockdown would be right" },
		{ "capture: {connect: fast}", "c:4: capture.connect: \"fast\" is not known; faithful or optimistic would be right" },
		{ "capture: {devices: eth0}",
		  "c:4: capture.devices: \"eth0\" is a text; auto, or a list of device names such as [eth0] would be right" },
		{ "capture: {devices: []}", "c:4: capture.devices: the list is empty; auto, or at least one device, would be right" },
		{ "capture: {devices: [eth0, eth0]}", "c:4: capture.devices: \"eth0\" is there twice" },
		{ "capture: {devices: [a/b]}",
		  "c:4: capture.devices: \"a/b\" is no device's name; 1 to 15 bytes without spaces, / and : would be right" },
		{ "capture: {devices: [abcdefghijklmnop]}",
		  "c:4: capture.devices: \"abcdefghijklmnop\" is no device's name; 1 to 15 bytes without spaces, / and : would be right" },
		{ "capture: {devices: [[a]]}", "c:4: capture.devices: an entry is a list; a text would be right" },
		{ "capture: {devices: [~]}", "c:4: capture.devices: an entry has nothing in it" },
		{ "capture: {cluster_pods: 10.0.0.0/8}",
		  "c:4: capture.cluster_pods: \"10.0.0.0/8\" is a text; a list of prefixes such as [10.245.0.0/16, \"fd45::/32\"] would be right" },
		{ "capture: {cluster_pods: [10.1.2.3/16]}",
		  "c:4: capture.cluster_pods: \"10.1.2.3/16\" has bits set behind its length; 10.1.0.0/16 would be right" },
		{ "capture: {cluster_pods: [pods]}",
		  "c:4: capture.cluster_pods: \"pods\" is no prefix; 10.245.1.0/24, fd45:1::/64 or one address would be right" },
		{ "capture: {exclude: [udp/53]}",
		  "c:4: capture.exclude: \"udp/53\": only TCP is captured, so there is nothing else to leave alone; tcp/9100 would be right" },
		{ "capture: {exclude: [tcp/0]}",
		  "c:4: capture.exclude: \"tcp/0\" has no port; tcp/ and a number from 1 to 65535 would be right" },
		{ "capture: {exclude: [tcp/65536]}",
		  "c:4: capture.exclude: \"tcp/65536\" has no port; tcp/ and a number from 1 to 65535 would be right" },
		{ "capture: {exclude: [9100]}",
		  "c:4: capture.exclude: \"9100\" is neither a prefix nor a port; 10.1.0.0/16 or tcp/9100 would be right" },
		{ "capture: {exclude: [10.0.0.0/40]}",
		  "c:4: capture.exclude: \"10.0.0.0/40\" is no prefix; 10.245.1.0/24, fd45:1::/64 or one address would be right" },
		{ "metrics: {listen: 9117}",
		  "c:4: metrics.listen: \"9117\" is no address with a port; an address and port such as \"127.0.0.1:9117\" or "
		  "\"[::1]:9117\", or \"\" for off would be right" },
		{ "metrics: {listen: }",
		  "c:4: metrics.listen: has no value; an address and port such as \"127.0.0.1:9117\" or \"[::1]:9117\", or \"\" for off would be "
		  "right" },
		{ "metrics: {listen: '127.0.0.1:0'}",
		  "c:4: metrics.listen: \"127.0.0.1:0\" has no port that can be found; an address and port such as "
		  "\"127.0.0.1:9117\" or \"[::1]:9117\", or \"\" for off would be right" },
		{ "log: {level: loud}", "c:4: log.level: \"loud\" is not known; debug or info or warn or error would be right" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512], error[CONFIG_ERROR_BYTES] = "";
		struct config c;

		(void)snprintf(text, sizeof(text), LEAST "%s\n", cases[i][0]);
		assert_int_equal(config_parse("c", text, strlen(text), NULL, &c, error), -EINVAL);
		assert_string_equal(error, cases[i][1]);
	}
}

static void what_must_be_given_is_asked_for(void **state)
{
	static const char *const cases[][2] = {
		{ "", "c: node is missing; a node's name (small letters, digits, and inside them - and .), such as node1 would be right" },
		{ "node: n\n", "c: identity.directory is missing; an absolute path would be right" },
		{ "node: n\nidentity: {directory: /i}\n",
		  "c: nodes.file is missing; an absolute path, or in its place nodes: {kubernetes: {}}, would be right" },
		{ "node: n\nidentity: {directory: /i}\nnodes:\n",
		  "c: nodes.file is missing; an absolute path, or in its place nodes: {kubernetes: {}}, would be right" },
		{ "node: N\n",
		  "c:1: node: \"N\" is no node's name; a node's name (small letters, digits, and inside them - and .), such as node1 would be right" },
		{ "- node\n", "c:1: begins with a list; a map with keys such as node would be right" },
		{ "node\n", "c:1: begins with a text; a map with keys such as node would be right" },
		{ "node: n\nnodes: {kubernetes: []}\n",
		  "c:2: nodes.kubernetes: is a list; a map with keys such as kubeconfig would be right" },
		{ "node: n\nnodes: {kubernetes: {kubeconfg: /k}}\n",
		  "c:2: key \"nodes.kubernetes.kubeconfg\" is not known; is nodes.kubernetes.kubeconfig meant?" },
		{ "node: n\nnodes: {kubernetes: {kubeconfig: k}}\n",
		  "c:2: nodes.kubernetes.kubeconfig: \"k\" is no absolute path; an absolute path, or \"\" would be right" },
		{ "node: n\nnodes: {kubernetes: {records_namespace: Culvert_Nodes}}\n",
		  "c:2: nodes.kubernetes.records_namespace: \"Culvert_Nodes\" is no name in Kubernetes; a name in Kubernetes such as culvert would be right" },
		{ "node: n\nnodes: {kubernetes: {records_namespace: ''}}\n",
		  "c:2: nodes.kubernetes.records_namespace: \"\" is empty; a name in Kubernetes such as culvert would be right" },
		{ "node: n\nnodes: {kubernetes: {pod_ranges: all}}\n",
		  "c:2: nodes.kubernetes.pod_ranges: \"all\" is not known; mark or own would be right" },
		{ "node: n\nnodes: {kubernetes: {allow_pod_opt_out: yes}}\n",
		  "c:2: nodes.kubernetes.allow_pod_opt_out: \"yes\" is not known; false or true would be right" },
		{ "node: n\nkubernetes: {}\n", "c:2: key \"kubernetes\" is not known; is nodes.kubernetes meant?" },
		{ "node: n\nnodes.kubernetes: {}\n",
		  "c:2: key \"nodes.kubernetes\" is not known; the keys here are node, runtime_directory, kernel, identity, nodes, tunnel, capture, metrics, log" },
		{ "node: n\nidentity: {directory: /i}\nnodes:\n  file: /n\n  kubernetes: {}\n",
		  "c:5: two sources of nodes: nodes.file (line 4) and nodes.kubernetes; one of them would be right" },
		{ "node: n\nnodes: {file: n.yaml}\n", "c:2: nodes.file: \"n.yaml\" is no absolute path; an absolute path would be right" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char error[CONFIG_ERROR_BYTES] = "";
		struct config c;

		assert_int_equal(config_parse("c", cases[i][0], strlen(cases[i][0]), NULL, &c, error), -EINVAL);
		assert_string_equal(error, cases[i][1]);
	}
}

static void a_signer_needs_a_cluster(void **state)
{
	static const char *const cases[][2] = {
		{ "node: n\nidentity: {directory: /i, signer: node}\nnodes: {kubernetes: {}}\n",
		  "c:2: identity.signer: \"node\" is no signer's name; a signer's name such as culvert.dev/node, or \"\" would be right" },
		{ "node: n\nidentity: {directory: /i, signer: culvert.dev/node}\nnodes: {file: /n}\n",
		  "c:2: identity.signer: the cluster is asked for the certificate, so the nodes must come from it (nodes: {kubernetes: {}}); "
		  "\"\" would be right here" },
	};
	char error[CONFIG_ERROR_BYTES];
	struct config c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(config_parse("c", cases[i][0], strlen(cases[i][0]), NULL, &c, error), -EINVAL);
		assert_string_equal(error, cases[i][1]);
	}
	parse("node: n\nidentity: {directory: /i, signer: culvert.dev/node}\nnodes: {kubernetes: {}}\n", &c);
	assert_string_equal(c.identity.signer, "culvert.dev/node");
	config_done(&c);
	parse("node: n\nidentity: {directory: /i, signer: \"\"}\nnodes: {kubernetes: {}}\n", &c);
	assert_string_equal(c.identity.signer, "");
	config_done(&c);
}

static void kubernetes_takes_the_place_of_the_file(void **state)
{
	static const char head[] = "node: n\nidentity: {directory: /i}\nnodes:\n";
	static const char *const bare[] = { "  kubernetes: {}\n", "  kubernetes:\n", "  kubernetes:\n    # kubeconfig: /k\n" };
	static const char full[] =
		"  kubernetes:\n    kubeconfig: /k\n    namespace: sys\n    records_namespace: sys-nodes\n    daemonset: cv.a\n"
		"    pod_ranges: own\n    service_ranges: [10.96.0.0/12]\n    allow_pod_opt_out: true\n";
	struct config c, again;
	char text[1024], *printed;

	(void)state;
	for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s%s", head, bare[i]);
		parse(text, &c);
		assert_true(c.nodes.is_kubernetes);
		assert_string_equal(c.nodes.file, "");
		assert_string_equal(c.nodes.kubernetes.kubeconfig, "");
		assert_string_equal(c.nodes.kubernetes.name_space, "");
		assert_string_equal(c.nodes.kubernetes.records_namespace, "culvert-nodes");
		assert_string_equal(c.nodes.kubernetes.daemonset, "culvert");
		assert_int_equal(c.nodes.kubernetes.pod_ranges, CONFIG_RANGES_MARK);
		assert_int_equal(c.nodes.kubernetes.allow_pod_opt_out, CONFIG_NO);
		assert_int_equal(c.nodes.kubernetes.service_ranges.count, 0);
		config_done(&c);
	}
	(void)snprintf(text, sizeof(text), "%s%s", head, full);
	parse(text, &c);
	printed = print(&c);
	parse(printed, &again);
	assert_int_equal(config_line(&c, "nodes.kubernetes.daemonset"), 8);
	for (const struct config *p = &c; p; p = p == &c ? &again : NULL) {
		assert_string_equal(p->nodes.kubernetes.kubeconfig, "/k");
		assert_string_equal(p->nodes.kubernetes.name_space, "sys");
		assert_string_equal(p->nodes.kubernetes.records_namespace, "sys-nodes");
		assert_string_equal(p->nodes.kubernetes.daemonset, "cv.a");
		assert_int_equal(p->nodes.kubernetes.pod_ranges, CONFIG_RANGES_OWN);
		assert_int_equal(p->nodes.kubernetes.allow_pod_opt_out, CONFIG_YES);
		assert_int_equal(p->nodes.kubernetes.service_ranges.count, 1);
	}
	free(printed);
	config_done(&c);
	config_done(&again);
	parse(LEAST, &c);
	assert_false(c.nodes.is_kubernetes);
	config_done(&c);
}

static void a_node_given_beside_the_file_takes_the_keys_place(void **state)
{
	static const char without[] = "identity: {directory: /i}\nnodes: {file: /n}\n";
	static const char wrong[] = "node: N\nidentity: {directory: /i}\nnodes: {file: /n}\n";
	char error[CONFIG_ERROR_BYTES] = "", longest[CONFIG_NODE_BYTES + 1];
	struct config c;

	(void)state;
	assert_int_equal(config_parse("c", without, strlen(without), "node7", &c, error), 0);
	assert_string_equal(c.node, "node7");
	config_done(&c);
	assert_int_equal(config_parse("c", LEAST, strlen(LEAST), "node7", &c, error), 0);
	assert_string_equal(c.node, "node7");
	assert_int_equal(config_line(&c, "node"), 1);
	config_done(&c);
	assert_int_equal(config_parse("c", wrong, strlen(wrong), "node7", &c, error), -EINVAL);
	assert_memory_equal(error, "c:1: node: \"N\" is no node's name; ", 32);
	assert_int_equal(config_parse("c", LEAST, strlen(LEAST), "Node7", &c, error), -EINVAL);
	assert_string_equal(error,
	                    "--node: \"Node7\" is no node's name; a node's name (small letters, digits, and inside them - and .), such as "
	                    "node1 would be right");
	assert_int_equal(config_parse("c", without, strlen(without), "", &c, error), -EINVAL);
	assert_memory_equal(error, "--node: \"\" is no node's name; ", 30);
	memset(longest, 'n', sizeof(longest) - 1);
	for (size_t i = 63; i < sizeof(longest) - 1; i += 64)
		longest[i] = '.';
	longest[CONFIG_NODE_BYTES] = '\0';
	assert_int_equal(config_parse("c", without, strlen(without), longest, &c, error), -EINVAL);
	longest[CONFIG_NODE_BYTES - 1] = '\0';
	assert_int_equal(config_parse("c", without, strlen(without), longest, &c, error), 0);
	assert_string_equal(c.node, longest);
	config_done(&c);
}

static void a_file_is_loaded(void **state)
{
	char path[] = "/tmp/culvert-test-config-XXXXXX", error[CONFIG_ERROR_BYTES], expected[CONFIG_ERROR_BYTES];
	struct config c;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, LEAST, sizeof(LEAST) - 1), sizeof(LEAST) - 1);
	assert_int_equal(config_load(path, NULL, &c, error), 0);
	assert_string_equal(c.node, "node1");
	config_done(&c);
	assert_int_equal(write(fd, "x: 1\n", 5), 5);
	assert_int_equal(config_load(path, NULL, &c, error), -EINVAL);
	(void)snprintf(
		expected, sizeof(expected),
		"%s:4: key \"x\" is not known; the keys here are node, runtime_directory, kernel, identity, nodes, tunnel, capture, metrics, log",
		path);
	assert_string_equal(error, expected);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(config_load(path, NULL, &c, error), -ENOENT);
}

static void every_key_is_described(void **state)
{
	char *text = NULL;
	size_t len, lines = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	config_describe(out);
	assert_int_equal(fclose(out), 0);
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 2 + 31);
	assert_non_null(
		strstr(text, "| `tunnel.port` | a number from 1 to 65535 | `7117` | TCP port of the tunnels, the same on every node |\n"));
	assert_non_null(strstr(text, "| `nodes.file` | an absolute path | one of the two must be given | "));
	assert_non_null(strstr(text, "| `nodes.kubernetes` | a map, or {} | one of the two must be given | "));
	assert_non_null(strstr(text, "| `nodes.kubernetes.pod_ranges` | mark or own | `mark` | "));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_file_has_the_defaults),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(what_is_printed_reads_back),
		cmocka_unit_test(a_section_may_be_empty),
		cmocka_unit_test(each_fault_has_its_sentence),
		cmocka_unit_test(what_must_be_given_is_asked_for),
		cmocka_unit_test(a_signer_needs_a_cluster),
		cmocka_unit_test(kubernetes_takes_the_place_of_the_file),
		cmocka_unit_test(a_node_given_beside_the_file_takes_the_keys_place),
		cmocka_unit_test(a_file_is_loaded),
		cmocka_unit_test(every_key_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
