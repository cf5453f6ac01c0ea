/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config_keys.h"

#include "base/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS UINT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define MIB       (UINT64_C(1) << 20)

static const struct config_choice modes[] = {
	{ "permissive", CONFIG_PERMISSIVE },
	{ "strict", CONFIG_STRICT },
	{ "lockdown", CONFIG_LOCKDOWN },
	{ NULL, 0 },
};

static const struct config_choice connects[] = {
	{ "faithful", CONFIG_FAITHFUL },
	{ "optimistic", CONFIG_OPTIMISTIC },
	{ NULL, 0 },
};

static const struct config_choice older_flows[] = {
	{ "keep", CONFIG_OLDER_KEEP },
	{ "reset", CONFIG_OLDER_RESET },
	{ NULL, 0 },
};

static const struct config_choice pod_ranges[] = {
	{ "mark", CONFIG_RANGES_MARK },
	{ "own", CONFIG_RANGES_OWN },
	{ NULL, 0 },
};

static const struct config_choice flags[] = {
	{ "false", CONFIG_NO },
	{ "true", CONFIG_YES },
	{ NULL, 0 },
};

static const struct config_choice levels[] = {
	{ "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARN }, { "error", LOG_ERROR }, { NULL, 0 },
};

#define AT(field)      .offset = offsetof(struct config, field)
#define TEXT_AT(field) AT(field), .cap_bytes = sizeof(((struct config *)0)->field)

const struct config_key config_keys[] = {
	{ "", "node", CONFIG_IS_NODE, TEXT_AT(node),
	  .about = "the name of this node, as in the list of nodes; culvertd --node NAME takes its place" },
	{ "", "runtime_directory", CONFIG_IS_RUNTIME, TEXT_AT(runtime_directory), .standard = "/run/culvert",
	  .about = "status socket and lock; a folder of the same name in the bpffs holds what is pinned in the kernel" },
	{ "kernel", "bpffs", CONFIG_IS_PATH, TEXT_AT(kernel.bpffs), .standard = "/sys/fs/bpf",
	  .about = "where the node's BPF file system is mounted; in a container that is not privileged, at a place of its own" },
	{ "kernel", "sysctl", CONFIG_IS_PATH, TEXT_AT(kernel.sysctl), .standard = "/proc/sys/net",
	  .about = "where the node's /proc/sys/net can be written; in a container its own is read-only" },
	{ "identity", "directory", CONFIG_IS_PATH, TEXT_AT(identity.directory),
	  .about = "folder with tls.crt, tls.key, ca.crt and optionally crl.pem" },
	{ "identity", "peer_name", CONFIG_IS_TEXT, TEXT_AT(identity.peer_name),
	  .standard = "URI:spiffe://cluster.local/ns/culvert/node/{node}",
	  .about = "template of the name that a node's certificate must have: URI:..., DNS:..., or shared" },
	{ "identity", "signer", CONFIG_IS_SIGNER, TEXT_AT(identity.signer), .standard = "\"\"", .may_be_empty = true,
	  .about =
	          "the daemon asks the cluster for its certificate, of this signer, and keeps it in identity.directory; \"\": files are mounted there" },
	{ "nodes", "file", CONFIG_IS_PATH, TEXT_AT(nodes.file),
	  .about = "the nodes file: who is in the cluster, and which pods are whose" },
	{ "nodes", "kubernetes", CONFIG_IS_MAP, AT(nodes.is_kubernetes),
	  .about = "in place of nodes.file: nodes, pods and who is enrolled from the Kubernetes API; {} for all its defaults" },
	{ CONFIG_KUBERNETES, "kubeconfig", CONFIG_IS_PATH, TEXT_AT(nodes.kubernetes.kubeconfig), .standard = "\"\"", .may_be_empty = true,
	  .about = "how the API server is reached; \"\": by the service account of the pod" },
	{ CONFIG_KUBERNETES, "namespace", CONFIG_IS_NAME, TEXT_AT(nodes.kubernetes.name_space), .standard = "\"\"", .may_be_empty = true,
	  .about = "the namespace of Culvert itself; \"\": that of the service account, or of the kubeconfig's context" },
	{ CONFIG_KUBERNETES, "records_namespace", CONFIG_IS_NAME, TEXT_AT(nodes.kubernetes.records_namespace), .standard = "culvert-nodes",
	  .about = "the namespace of the records: a Lease named after each node that is enrolled" },
	{ CONFIG_KUBERNETES, "daemonset", CONFIG_IS_NAME, TEXT_AT(nodes.kubernetes.daemonset), .standard = "culvert", .may_be_empty = true,
	  .about =
	          "Culvert's own DaemonSet: when the daemon is told to end and that is gone, Culvert is being taken out; \"\": it runs without one" },
	{ CONFIG_KUBERNETES, "pod_ranges", CONFIG_IS_CHOICE, AT(nodes.kubernetes.pod_ranges), .choices = pod_ranges, .standard = "mark",
	  .about =
	          "what a node's podCIDRs say: mark the pod space, since many CNIs ignore them; or own: every address in them is its node's" },
	{ CONFIG_KUBERNETES, "service_ranges", CONFIG_IS_PREFIXES, AT(nodes.kubernetes.service_ranges), .standard = "[]",
	  .about = "addresses of Services: a pod that says it has one is refused. The API server's own address is always among them" },
	{ CONFIG_KUBERNETES, "allow_pod_opt_out", CONFIG_IS_CHOICE, AT(nodes.kubernetes.allow_pod_opt_out), .choices = flags,
	  .standard = "false",
	  .about =
	          "whether a pod's annotation culvert.dev/mode: disabled takes it out, as a namespace's label does; neither does in lockdown" },
	{ "tunnel", "port", CONFIG_IS_NUMBER, AT(tunnel.port), .min = 1, .max = UINT16_MAX, .standard = "7117",
	  .about = "TCP port of the tunnels, the same on every node" },
	{ "tunnel", "workers", CONFIG_IS_NUMBER, AT(tunnel.workers), .min = 0, .max = 8, .standard = "0",
	  .about = "worker threads; 0: one per core that the process may use, at most 8" },
	{ "tunnel", "tunnels_per_peer", CONFIG_IS_NUMBER, AT(tunnel.tunnels_per_peer), .min = 1, .max = 4, .standard = "4",
	  .about = "tunnels to one node, each on another worker: the next is made when a worker is full" },
	{ "tunnel", "memory", CONFIG_IS_SIZE, AT(tunnel.memory_bytes), .min = MIB, .max = MIB << 20, .standard = "512MiB",
	  .about = "budget of the credit that is granted to all streams together; beyond it new streams are refused" },
	{ "tunnel", "peer_timeout", CONFIG_IS_DURATION, AT(tunnel.peer_timeout_ms), .min = 1000, .max = 24 * HOUR_MS, .standard = "120s",
	  .about = "a peer that is silent for so long is gone, and its streams are reset" },
	{ "tunnel", "drain_timeout", CONFIG_IS_DURATION, AT(tunnel.drain_timeout_ms), .min = 0, .max = HOUR_MS, .standard = "30s",
	  .about = "what running streams get to finish when the daemon ends" },
	{ "tunnel", "idle_timeout", CONFIG_IS_DURATION, AT(tunnel.idle_timeout_ms), .min = 1000, .max = 24 * HOUR_MS, .standard = "10m",
	  .about = "a tunnel without streams is closed after it" },
	{ "capture", "devices", CONFIG_IS_DEVICES, AT(capture.devices), .standard = "auto",
	  .about = "devices at the node's edge; auto: every one that is not proven to face a pod" },
	{ "capture", "mode", CONFIG_IS_CHOICE, AT(capture.mode), .choices = modes, .standard = "strict",
	  .about = "what happens to connections that can not be encrypted: passed, refused between enrolled nodes, or refused always" },
	{ "capture", "connect", CONFIG_IS_CHOICE, AT(capture.connect), .choices = connects, .standard = "faithful",
	  .about = "faithful: a pod's connect() succeeds, is refused or times out as the far side does; optimistic: it succeeds at once" },
	{ "capture", "older_flows", CONFIG_IS_CHOICE, AT(capture.older_flows), .choices = older_flows, .standard = "keep",
	  .about = "connections that were there before both nodes were enrolled: live on in the clear and are counted, or are reset" },
	{ "capture", "cluster_pods", CONFIG_IS_PREFIXES, AT(capture.cluster_pods), .standard = "[]",
	  .about = "prefixes that are known to be pods' even where nobody owns the address" },
	{ "capture", "exclude", CONFIG_IS_EXCLUDES, AT(capture.exclude), .standard = "[]",
	  .about = "prefixes and ports that are left alone" },
	{ "metrics", "listen", CONFIG_IS_LISTEN, AT(metrics.listen), .standard = "127.0.0.1:9117",
	  .about = "address of /metrics, /livez and /readyz over HTTP; \"\": off" },
	{ "log", "level", CONFIG_IS_CHOICE, AT(log.level), .choices = levels, .standard = "info", .about = "least level that is logged" },
};

const size_t config_keys_count = sizeof(config_keys) / sizeof(config_keys[0]);

static_assert((int)CONFIG_NODE_BYTES == 254, "every subdomain fits");
static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= (int)CONFIG_KEYS_MAX, "each key has its line");
static_assert((int)TREE_ERROR_BYTES <= (int)CONFIG_ERROR_BYTES, "a fault of the tree fits");
static_assert(sizeof(enum config_mode) == sizeof(int) && sizeof(enum log_level) == sizeof(int), "choices are stored as int");

const struct config_unit config_durations[] = { { "h", HOUR_MS }, { "m", MINUTE_MS }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 } };
const struct config_unit config_sizes[] = { { "TiB", MIB << 20 }, { "GiB", MIB << 10 }, { "MiB", MIB },
	                                    { "KiB", 1 << 10 },   { "B", 1 },           { NULL, 0 } };

const struct config_key *config_key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < config_keys_count; i++) {
		if (strcmp(config_keys[i].section, section) == 0 && strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

bool config_is_section(const char *name)
{
	for (size_t i = 0; i < config_keys_count; i++) {
		if (*name != '\0' && !strchr(name, '.') && strcmp(config_keys[i].section, name) == 0)
			return true;
	}
	return false;
}

size_t config_words_of(const char *section, const char *words[CONFIG_KEYS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < config_keys_count; i++) {
		const char *word = config_keys[i].name;

		if (*section == '\0' && *config_keys[i].section != '\0') {
			word = config_keys[i].section;
			if (strchr(word, '.'))
				continue;
			if (i > 0 && strcmp(config_keys[i - 1].section, word) == 0)
				continue;
		} else if (strcmp(config_keys[i].section, section) != 0) {
			continue;
		}
		words[count++] = word;
	}
	return count;
}

const char *config_dotted(const struct config_key *k, char text[CONFIG_DOTTED_BYTES])
{
	(void)snprintf(text, CONFIG_DOTTED_BYTES, "%s%s%s", k->section, *k->section ? "." : "", k->name);
	return text;
}

const char *config_print_measure(uint64_t value, const struct config_unit *units, char text[CONFIG_MEASURE_BYTES])
{
	const struct config_unit *u = units;

	/* A zero is of the second unit from the end: "0s". */
	while (u[1].text && (value == 0 ? u[2].text != NULL : value % u->factor != 0))
		u++;
	(void)snprintf(text, CONFIG_MEASURE_BYTES, "%" PRIu64 "%s", value / u->factor, u->text);
	return text;
}

const char *config_form(const struct config_key *k, char text[CONFIG_FORM_BYTES])
{
	char min[CONFIG_MEASURE_BYTES], max[CONFIG_MEASURE_BYTES];
	size_t len = 0;

	switch (k->kind) {
	case CONFIG_IS_NODE:
		return "a node's name (small letters, digits, and inside them - and .), such as node1";
	case CONFIG_IS_RUNTIME:
		(void)snprintf(
			text, CONFIG_FORM_BYTES,
			"an absolute path of at most %d bytes whose last part has only letters, digits, - and _, such as /run/culvert",
			CONFIG_RUNTIME_BYTES - 1);
		return text;
	case CONFIG_IS_PATH:
		return k->may_be_empty ? "an absolute path, or \"\"" : "an absolute path";
	case CONFIG_IS_NAME:
		return k->may_be_empty ? "a name in Kubernetes such as culvert, or \"\"" : "a name in Kubernetes such as culvert";
	case CONFIG_IS_SIGNER:
		return "a signer's name such as culvert.dev/node, or \"\"";
	case CONFIG_IS_TEXT:
		return "a text such as URI:spiffe://cluster.local/ns/culvert/node/{node}";
	case CONFIG_IS_NUMBER:
		(void)snprintf(text, CONFIG_FORM_BYTES, "a number from %" PRIu64 " to %" PRIu64, k->min, k->max);
		return text;
	case CONFIG_IS_DURATION:
		(void)snprintf(text, CONFIG_FORM_BYTES, "a duration from %s to %s, such as 500ms, 30s, 10m or 1h",
		               config_print_measure(k->min, config_durations, min), config_print_measure(k->max, config_durations, max));
		return text;
	case CONFIG_IS_SIZE:
		(void)snprintf(text, CONFIG_FORM_BYTES, "a size from %s to %s, such as 512KiB, 256MiB or 1GiB",
		               config_print_measure(k->min, config_sizes, min), config_print_measure(k->max, config_sizes, max));
		return text;
	case CONFIG_IS_CHOICE:
		text[0] = '\0';
		for (const struct config_choice *c = k->choices; c->text && len < CONFIG_FORM_BYTES; c++)
			len += (size_t)snprintf(text + len, CONFIG_FORM_BYTES - len, "%s%s", len > 0 ? " or " : "", c->text);
		return text;
	case CONFIG_IS_DEVICES:
		return "auto, or a list of device names such as [eth0]";
	case CONFIG_IS_PREFIXES:
		return "a list of prefixes such as [10.245.0.0/16, \"fd45::/32\"]";
	case CONFIG_IS_EXCLUDES:
		return "a list of prefixes and TCP ports such as [10.1.0.0/16, \"fd00::/8\", tcp/9100]";
	case CONFIG_IS_LISTEN:
		return "an address and port such as \"127.0.0.1:9117\" or \"[::1]:9117\", or \"\" for off";
	case CONFIG_IS_MAP:
		return "a map, or {}";
	}
	return "nothing";
}
