/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config.h"

#include "base/text.h"
#include "base/tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum kind {
	KIND_NODE,
	KIND_RUNTIME, /* a path whose last part also names a folder in the bpffs */
	KIND_PATH,
	KIND_NAME, /* of an object in Kubernetes */
	KIND_SIGNER,
	KIND_TEXT,
	KIND_NUMBER,
	KIND_DURATION,
	KIND_SIZE,
	KIND_CHOICE,
	KIND_DEVICES,
	KIND_PREFIXES,
	KIND_EXCLUDES,
	KIND_LISTEN,
	KIND_MAP, /* a section in a section; its keys stand behind it */
};

struct choice {
	const char *text;
	int value;
};

struct key {
	const char *section; /* "": none */
	const char *name;
	enum kind kind;
	size_t offset;
	size_t cap_bytes;             /* of texts */
	uint64_t min, max;            /* of numbers, durations (ms) and sizes (bytes) */
	const struct choice *choices; /* ended by a text of NULL */
	const char *standard;         /* the default as it would be written; NULL: it must be given */
	bool may_be_empty;            /* of texts: "" says something */
	const char *about;
};

#define MINUTE_MS UINT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define MIB       (UINT64_C(1) << 20)

static const struct choice modes[] = {
	{ "permissive", CONFIG_PERMISSIVE },
	{ "strict", CONFIG_STRICT },
	{ "lockdown", CONFIG_LOCKDOWN },
	{ NULL, 0 },
};

static const struct choice connects[] = {
	{ "faithful", CONFIG_FAITHFUL },
	{ "optimistic", CONFIG_OPTIMISTIC },
	{ NULL, 0 },
};

static const struct choice older_flows[] = {
	{ "keep", CONFIG_OLDER_KEEP },
	{ "reset", CONFIG_OLDER_RESET },
	{ NULL, 0 },
};

static const struct choice pod_ranges[] = {
	{ "mark", CONFIG_RANGES_MARK },
	{ "own", CONFIG_RANGES_OWN },
	{ NULL, 0 },
};

static const struct choice flags[] = {
	{ "false", CONFIG_NO },
	{ "true", CONFIG_YES },
	{ NULL, 0 },
};

static const struct choice levels[] = {
	{ "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARN }, { "error", LOG_ERROR }, { NULL, 0 },
};

#define KUBERNETES     "nodes.kubernetes"
#define AT(field)      .offset = offsetof(struct config, field)
#define TEXT_AT(field) AT(field), .cap_bytes = sizeof(((struct config *)0)->field)

static const struct key keys[] = {
	{ "", "node", KIND_NODE, TEXT_AT(node),
	  .about = "the name of this node, as in the list of nodes; culvertd --node NAME takes its place" },
	{ "", "runtime_directory", KIND_RUNTIME, TEXT_AT(runtime_directory), .standard = "/run/culvert",
	  .about = "status socket and lock; a folder of the same name in the bpffs holds what is pinned in the kernel" },
	{ "kernel", "bpffs", KIND_PATH, TEXT_AT(kernel.bpffs), .standard = "/sys/fs/bpf",
	  .about = "where the node's BPF file system is mounted; in a container that is not privileged, at a place of its own" },
	{ "kernel", "sysctl", KIND_PATH, TEXT_AT(kernel.sysctl), .standard = "/proc/sys/net",
	  .about = "where the node's /proc/sys/net can be written; in a container its own is read-only" },
	{ "identity", "directory", KIND_PATH, TEXT_AT(identity.directory),
	  .about = "folder with tls.crt, tls.key, ca.crt and optionally crl.pem" },
	{ "identity", "peer_name", KIND_TEXT, TEXT_AT(identity.peer_name), .standard = "URI:spiffe://cluster.local/ns/culvert/node/{node}",
	  .about = "template of the name that a node's certificate must have: URI:..., DNS:..., or shared" },
	{ "identity", "signer", KIND_SIGNER, TEXT_AT(identity.signer), .standard = "\"\"", .may_be_empty = true,
	  .about =
	          "the daemon asks the cluster for its certificate, of this signer, and keeps it in identity.directory; \"\": files are mounted there" },
	{ "nodes", "file", KIND_PATH, TEXT_AT(nodes.file), .about = "the nodes file: who is in the cluster, and which pods are whose" },
	{ "nodes", "kubernetes", KIND_MAP, AT(nodes.is_kubernetes),
	  .about = "in place of nodes.file: nodes, pods and who is enrolled from the Kubernetes API; {} for all its defaults" },
	{ KUBERNETES, "kubeconfig", KIND_PATH, TEXT_AT(nodes.kubernetes.kubeconfig), .standard = "\"\"", .may_be_empty = true,
	  .about = "how the API server is reached; \"\": by the service account of the pod" },
	{ KUBERNETES, "namespace", KIND_NAME, TEXT_AT(nodes.kubernetes.name_space), .standard = "\"\"", .may_be_empty = true,
	  .about = "the namespace of Culvert itself; \"\": that of the service account, or of the kubeconfig's context" },
	{ KUBERNETES, "records_namespace", KIND_NAME, TEXT_AT(nodes.kubernetes.records_namespace), .standard = "culvert-nodes",
	  .about = "the namespace of the records: a Lease named after each node that is enrolled" },
	{ KUBERNETES, "daemonset", KIND_NAME, TEXT_AT(nodes.kubernetes.daemonset), .standard = "culvert", .may_be_empty = true,
	  .about =
	          "Culvert's own DaemonSet: when the daemon is told to end and that is gone, Culvert is being taken out; \"\": it runs without one" },
	{ KUBERNETES, "pod_ranges", KIND_CHOICE, AT(nodes.kubernetes.pod_ranges), .choices = pod_ranges, .standard = "mark",
	  .about =
	          "what a node's podCIDRs say: mark the pod space, since many CNIs ignore them; or own: every address in them is its node's" },
	{ KUBERNETES, "service_ranges", KIND_PREFIXES, AT(nodes.kubernetes.service_ranges), .standard = "[]",
	  .about = "addresses of Services: a pod that says it has one is refused. The API server's own address is always among them" },
	{ KUBERNETES, "allow_pod_opt_out", KIND_CHOICE, AT(nodes.kubernetes.allow_pod_opt_out), .choices = flags, .standard = "false",
	  .about =
	          "whether a pod's annotation culvert.dev/mode: disabled takes it out, as a namespace's label does; neither does in lockdown" },
	{ "tunnel", "port", KIND_NUMBER, AT(tunnel.port), .min = 1, .max = UINT16_MAX, .standard = "7117",
	  .about = "TCP port of the tunnels, the same on every node" },
	{ "tunnel", "workers", KIND_NUMBER, AT(tunnel.workers), .min = 0, .max = 8, .standard = "0",
	  .about = "worker threads; 0: one per core that the process may use, at most 8" },
	{ "tunnel", "memory", KIND_SIZE, AT(tunnel.memory_bytes), .min = MIB, .max = MIB << 20, .standard = "512MiB",
	  .about = "budget of the credit that is granted to all streams together; beyond it new streams are refused" },
	{ "tunnel", "peer_timeout", KIND_DURATION, AT(tunnel.peer_timeout_ms), .min = 1000, .max = 24 * HOUR_MS, .standard = "120s",
	  .about = "a peer that is silent for so long is gone, and its streams are reset" },
	{ "tunnel", "drain_timeout", KIND_DURATION, AT(tunnel.drain_timeout_ms), .min = 0, .max = HOUR_MS, .standard = "30s",
	  .about = "what running streams get to finish when the daemon ends" },
	{ "tunnel", "idle_timeout", KIND_DURATION, AT(tunnel.idle_timeout_ms), .min = 1000, .max = 24 * HOUR_MS, .standard = "10m",
	  .about = "a tunnel without streams is closed after it" },
	{ "capture", "devices", KIND_DEVICES, AT(capture.devices), .standard = "auto",
	  .about = "devices at the node's edge; auto: every one that is not proven to face a pod" },
	{ "capture", "mode", KIND_CHOICE, AT(capture.mode), .choices = modes, .standard = "strict",
	  .about = "what happens to connections that can not be encrypted: passed, refused between enrolled nodes, or refused always" },
	{ "capture", "connect", KIND_CHOICE, AT(capture.connect), .choices = connects, .standard = "faithful",
	  .about = "faithful: a pod's connect() succeeds, is refused or times out as the far side does; optimistic: it succeeds at once" },
	{ "capture", "older_flows", KIND_CHOICE, AT(capture.older_flows), .choices = older_flows, .standard = "keep",
	  .about = "connections that were there before both nodes were enrolled: live on in the clear and are counted, or are reset" },
	{ "capture", "cluster_pods", KIND_PREFIXES, AT(capture.cluster_pods), .standard = "[]",
	  .about = "prefixes that are known to be pods' even where nobody owns the address" },
	{ "capture", "exclude", KIND_EXCLUDES, AT(capture.exclude), .standard = "[]", .about = "prefixes and ports that are left alone" },
	{ "metrics", "listen", KIND_LISTEN, AT(metrics.listen), .standard = "127.0.0.1:9117",
	  .about = "address of /metrics, /livez and /readyz over HTTP; \"\": off" },
	{ "log", "level", KIND_CHOICE, AT(log.level), .choices = levels, .standard = "info", .about = "least level that is logged" },
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]), DOTTED_BYTES = 64, FORM_BYTES = 160, DURATION_BYTES = 24 };

static_assert((int)CONFIG_NODE_BYTES == 254, "every subdomain fits");
static_assert((int)KEYS <= (int)CONFIG_KEYS_MAX, "each key has its line");
static_assert((int)TREE_ERROR_BYTES <= (int)CONFIG_ERROR_BYTES, "a fault of the tree fits");
static_assert(sizeof(enum config_mode) == sizeof(int) && sizeof(enum log_level) == sizeof(int), "choices are stored as int");

struct unit {
	const char *text;
	uint64_t factor;
};

/* Largest first, for printing. */
static const struct unit duration_units[] = { { "h", HOUR_MS }, { "m", MINUTE_MS }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 } };
static const struct unit size_units[] = { { "TiB", MIB << 20 }, { "GiB", MIB << 10 }, { "MiB", MIB },
	                                  { "KiB", 1 << 10 },   { "B", 1 },           { NULL, 0 } };

struct reading {
	const char *path;
	char *error;
	struct config *config;
	const char *node; /* given beside the file; NULL: it is not */
};

static const char *dotted(const struct key *k, char text[DOTTED_BYTES])
{
	(void)snprintf(text, DOTTED_BYTES, "%s%s%s", k->section, *k->section ? "." : "", k->name);
	return text;
}

static const char *print_unit(uint64_t value, const struct unit *units, char text[DURATION_BYTES])
{
	const struct unit *u = units;

	/* A zero is of the second unit from the end: "0s". */
	while (u[1].text && (value == 0 ? u[2].text != NULL : value % u->factor != 0))
		u++;
	(void)snprintf(text, DURATION_BYTES, "%" PRIu64 "%s", value / u->factor, u->text);
	return text;
}

/* What would be right for a key. */
static const char *form_of(const struct key *k, char text[FORM_BYTES])
{
	char min[DURATION_BYTES], max[DURATION_BYTES];
	size_t len = 0;

	switch (k->kind) {
	case KIND_NODE:
		return "a node's name (small letters, digits, and inside them - and .), such as node1";
	case KIND_RUNTIME:
		(void)snprintf(
			text, FORM_BYTES,
			"an absolute path of at most %d bytes whose last part has only letters, digits, - and _, such as /run/culvert",
			CONFIG_RUNTIME_BYTES - 1);
		return text;
	case KIND_PATH:
		return k->may_be_empty ? "an absolute path, or \"\"" : "an absolute path";
	case KIND_NAME:
		return k->may_be_empty ? "a name in Kubernetes such as culvert, or \"\"" : "a name in Kubernetes such as culvert";
	case KIND_SIGNER:
		return "a signer's name such as culvert.dev/node, or \"\"";
	case KIND_TEXT:
		return "a text such as URI:spiffe://cluster.local/ns/culvert/node/{node}";
	case KIND_NUMBER:
		(void)snprintf(text, FORM_BYTES, "a number from %" PRIu64 " to %" PRIu64, k->min, k->max);
		return text;
	case KIND_DURATION:
		(void)snprintf(text, FORM_BYTES, "a duration from %s to %s, such as 500ms, 30s, 10m or 1h",
		               print_unit(k->min, duration_units, min), print_unit(k->max, duration_units, max));
		return text;
	case KIND_SIZE:
		(void)snprintf(text, FORM_BYTES, "a size from %s to %s, such as 512KiB, 256MiB or 1GiB",
		               print_unit(k->min, size_units, min), print_unit(k->max, size_units, max));
		return text;
	case KIND_CHOICE:
		text[0] = '\0';
		for (const struct choice *c = k->choices; c->text && len < FORM_BYTES; c++)
			len += (size_t)snprintf(text + len, FORM_BYTES - len, "%s%s", len > 0 ? " or " : "", c->text);
		return text;
	case KIND_DEVICES:
		return "auto, or a list of device names such as [eth0]";
	case KIND_PREFIXES:
		return "a list of prefixes such as [10.245.0.0/16, \"fd45::/32\"]";
	case KIND_EXCLUDES:
		return "a list of prefixes and TCP ports such as [10.1.0.0/16, \"fd00::/8\", tcp/9100]";
	case KIND_LISTEN:
		return "an address and port such as \"127.0.0.1:9117\" or \"[::1]:9117\", or \"\" for off";
	case KIND_MAP:
		return "a map, or {}";
	}
	return "nothing";
}

__attribute__((format(printf, 3, 4))) static int fault(const struct reading *r, unsigned line, const char *format, ...)
{
	int len = line > 0 ? snprintf(r->error, CONFIG_ERROR_BYTES, "%s:%u: ", r->path, line)
	                   : snprintf(r->error, CONFIG_ERROR_BYTES, "%s: ", r->path);
	va_list args;

	if (len >= 0 && len < CONFIG_ERROR_BYTES) {
		va_start(args, format);
		(void)vsnprintf(r->error + len, (size_t)(CONFIG_ERROR_BYTES - len), format, args);
		va_end(args);
	}
	return -EINVAL;
}

static int out_of_memory(const struct reading *r)
{
	(void)snprintf(r->error, CONFIG_ERROR_BYTES, "%s: out of memory", r->path);
	return -ENOMEM;
}

/* "FILE:LINE: tunnel.port: "x" is no number; a number from 1 to 65535 would be right" */
static int bad_value(const struct reading *r, const struct key *k, const struct tree_node *n, const char *what)
{
	char name[DOTTED_BYTES], form[FORM_BYTES], quoted[TEXT_QUOTE_BYTES];

	if (n->kind != TREE_TEXT)
		return fault(r, n->line, "%s: is %s; %s would be right", dotted(k, name), tree_kind_text(n->kind), form_of(k, form));
	if (tree_is_nothing(n))
		return fault(r, n->line, "%s: has no value; %s would be right", dotted(k, name), form_of(k, form));
	return fault(r, n->line, "%s: %s %s; %s would be right", dotted(k, name), text_quote(n->text, quoted), what, form_of(k, form));
}

/* Nothing else comes back from every terminal and every YAML reader as it was. */
static bool is_plain_ascii(const char *text)
{
	while (*text >= ' ' && *text < 0x7f)
		text++;
	return *text == '\0';
}

/* The last part of a path names a folder in the bpffs too, and there no name may hold a dot. */
static bool is_runtime_path(const char *text)
{
	const char *last = strrchr(text, '/') + 1;

	if (*last == '\0')
		return false;
	for (; *last != '\0'; last++) {
		if (!((*last >= 'a' && *last <= 'z') || (*last >= 'A' && *last <= 'Z') || (*last >= '0' && *last <= '9') || *last == '-' ||
		      *last == '_'))
			return false;
	}
	return true;
}

static int take_text(const struct reading *r, const struct key *k, const struct tree_node *n, char *at)
{
	bool is_path = k->kind == KIND_PATH || k->kind == KIND_RUNTIME;
	size_t len;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "is empty");
	if (n->text[0] == '\0') {
		if (!k->may_be_empty)
			return bad_value(r, k, n, "is empty");
		at[0] = '\0';
		return 0;
	}
	len = strlen(n->text);
	if (len >= k->cap_bytes)
		return bad_value(r, k, n, "is too long");
	if (!is_plain_ascii(n->text))
		return bad_value(r, k, n, "has a byte that is not printable ASCII");
	if (is_path && n->text[0] != '/')
		return bad_value(r, k, n, "is no absolute path");
	if (k->kind == KIND_RUNTIME && !is_runtime_path(n->text))
		return bad_value(r, k, n, "has another last part than can be named in the kernel's bpffs");
	if (k->kind == KIND_NODE && !text_is_subdomain(n->text))
		return bad_value(r, k, n, "is no node's name");
	if (k->kind == KIND_NAME && !text_is_subdomain(n->text))
		return bad_value(r, k, n, "is no name in Kubernetes");
	if (k->kind == KIND_SIGNER && !text_is_signer(n->text))
		return bad_value(r, k, n, "is no signer's name");
	memcpy(at, n->text, len + 1);
	return 0;
}

static int take_number(const struct reading *r, const struct key *k, const struct tree_node *n, uint32_t *at)
{
	uint64_t value = 0;
	int rc;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	rc = text_parse_u64(n->text, &value);
	if (rc == -EINVAL)
		return bad_value(r, k, n, "is no number");
	if (rc < 0 || value < k->min || value > k->max)
		return bad_value(r, k, n, "is out of range");
	*at = (uint32_t)value;
	return 0;
}

/* A number with a unit behind it. */
static int take_measure(const struct reading *r, const struct key *k, const struct tree_node *n, const struct unit *units,
                        const char *no_such, uint64_t *at)
{
	char digits[24];
	const struct unit *u = units;
	uint64_t value;
	size_t len;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	len = strspn(n->text, "0123456789");
	if (len == 0)
		return bad_value(r, k, n, no_such);
	while (u->text && strcmp(u->text, n->text + len) != 0)
		u++;
	if (!u->text)
		return bad_value(r, k, n, n->text[len] == '\0' ? "has no unit" : "has a unit that is not known");
	if (len >= sizeof(digits))
		return bad_value(r, k, n, "is out of range");
	memcpy(digits, n->text, len);
	digits[len] = '\0';
	if (text_parse_u64(digits, &value) < 0 || __builtin_mul_overflow(value, u->factor, &value) || value < k->min || value > k->max)
		return bad_value(r, k, n, "is out of range");
	*at = value;
	return 0;
}

static int take_choice(const struct reading *r, const struct key *k, const struct tree_node *n, int *at)
{
	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	for (const struct choice *c = k->choices; c->text; c++) {
		if (strcmp(c->text, n->text) != 0)
			continue;
		*at = c->value;
		return 0;
	}
	return bad_value(r, k, n, "is not known");
}

static int check_list(const struct reading *r, const struct key *k, const struct tree_node *n)
{
	char name[DOTTED_BYTES];

	if (n->kind != TREE_LIST)
		return bad_value(r, k, n, "is a text");
	if (n->count > CONFIG_LIST_MAX)
		return fault(r, n->line, "%s: %zu entries; at most %d would be right", dotted(k, name), n->count, CONFIG_LIST_MAX);
	for (const struct tree_node *item = n->first; item; item = item->next) {
		if (item->kind != TREE_TEXT)
			return fault(r, item->line, "%s: an entry is %s; a text would be right", dotted(k, name),
			             tree_kind_text(item->kind));
		if (tree_is_nothing(item))
			return fault(r, item->line, "%s: an entry has nothing in it", dotted(k, name));
	}
	return 0;
}

static bool is_device_name(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= CONFIG_DEVICE_BYTES || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text >= 0x7f || *text == '/' || *text == ':')
			return false;
	}
	return true;
}

static int take_devices(const struct reading *r, const struct key *k, const struct tree_node *n, struct config_devices *at)
{
	char name[DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES];
	int rc;

	if (n->kind == TREE_TEXT && strcmp(n->text, "auto") == 0)
		return 0;
	rc = check_list(r, k, n);
	if (rc < 0)
		return rc;
	if (n->count == 0)
		return fault(r, n->line, "%s: the list is empty; auto, or at least one device, would be right", dotted(k, name));
	at->names = calloc(n->count, sizeof(*at->names));
	if (!at->names)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item; item = item->next) {
		if (!is_device_name(item->text))
			return fault(r, item->line, "%s: %s is no device's name; 1 to %d bytes without spaces, / and : would be right",
			             dotted(k, name), text_quote(item->text, quoted), CONFIG_DEVICE_BYTES - 1);
		for (size_t i = 0; i < at->count; i++) {
			if (strcmp(at->names[i], item->text) == 0)
				return fault(r, item->line, "%s: %s is there twice", dotted(k, name), text_quote(item->text, quoted));
		}
		at->names[at->count] = strdup(item->text);
		if (!at->names[at->count])
			return out_of_memory(r);
		at->count++;
	}
	return 0;
}

static int take_prefix(const struct reading *r, const struct key *k, const struct tree_node *item, struct prefix *ret)
{
	char name[DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES], why[PREFIX_FAULT_BYTES];
	int rc = prefix_parse(item->text, ret);

	if (rc < 0)
		return fault(r, item->line, "%s: %s %s", dotted(k, name), text_quote(item->text, quoted), prefix_fault(rc, ret, why));
	return 0;
}

static int take_prefixes(const struct reading *r, const struct key *k, const struct tree_node *n, struct config_prefixes *at)
{
	int rc = check_list(r, k, n);

	if (rc < 0 || n->count == 0)
		return rc;
	at->items = calloc(n->count, sizeof(*at->items));
	if (!at->items)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item && rc == 0; item = item->next)
		rc = take_prefix(r, k, item, &at->items[at->count++]);
	return rc;
}

static int take_exclude(const struct reading *r, const struct key *k, const struct tree_node *item, struct config_exclude *ret)
{
	char name[DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES];
	const char *slash = strchr(item->text, '/');
	uint64_t port;

	if (!strpbrk(item->text, ".:") && (!slash || item->text[0] < 'a' || item->text[0] > 'z'))
		return fault(r, item->line, "%s: %s is neither a prefix nor a port; 10.1.0.0/16 or tcp/9100 would be right",
		             dotted(k, name), text_quote(item->text, quoted));
	if (strpbrk(item->text, ".:"))
		return take_prefix(r, k, item, &ret->prefix);
	if (strncmp(item->text, "tcp/", 4) != 0)
		return fault(r, item->line,
		             "%s: %s: only TCP is captured, so there is nothing else to leave alone; tcp/9100 would be right",
		             dotted(k, name), text_quote(item->text, quoted));
	if (text_parse_u64(slash + 1, &port) < 0 || port == 0 || port > UINT16_MAX)
		return fault(r, item->line, "%s: %s has no port; tcp/ and a number from 1 to 65535 would be right", dotted(k, name),
		             text_quote(item->text, quoted));
	ret->is_port = true;
	ret->port = (uint16_t)port;
	return 0;
}

static int take_excludes(const struct reading *r, const struct key *k, const struct tree_node *n, struct config_excludes *at)
{
	int rc = check_list(r, k, n);

	if (rc < 0 || n->count == 0)
		return rc;
	at->items = calloc(n->count, sizeof(*at->items));
	if (!at->items)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item && rc == 0; item = item->next)
		rc = take_exclude(r, k, item, &at->items[at->count++]);
	return rc;
}

static int take_listen(const struct reading *r, const struct key *k, const struct tree_node *n, struct config_listen *at)
{
	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	if (n->text[0] == '\0') {
		at->is_on = false;
		return 0;
	}
	if (endpoint_parse(n->text, &at->endpoint) < 0)
		return bad_value(r, k, n, "is no address with a port");
	if (at->endpoint.port == 0)
		return bad_value(r, k, n, "has no port that can be found");
	at->is_on = true;
	return 0;
}

static int read_section(const struct reading *r, const char *section, const struct tree_node *map);

static int take_value(const struct reading *r, const struct key *k, const struct tree_node *n)
{
	void *at = (char *)r->config + k->offset;

	switch (k->kind) {
	case KIND_NODE:
	case KIND_RUNTIME:
	case KIND_PATH:
	case KIND_NAME:
	case KIND_SIGNER:
	case KIND_TEXT:
		return take_text(r, k, n, at);
	case KIND_NUMBER:
		return take_number(r, k, n, at);
	case KIND_DURATION:
		return take_measure(r, k, n, duration_units, "is no duration", at);
	case KIND_SIZE:
		return take_measure(r, k, n, size_units, "is no size", at);
	case KIND_CHOICE:
		return take_choice(r, k, n, at);
	case KIND_DEVICES:
		return take_devices(r, k, n, at);
	case KIND_PREFIXES:
		return take_prefixes(r, k, n, at);
	case KIND_EXCLUDES:
		return take_excludes(r, k, n, at);
	case KIND_LISTEN:
		return take_listen(r, k, n, at);
	case KIND_MAP:
		*(bool *)at = true;
		return read_section(r, KUBERNETES, n);
	}
	return 0;
}

static const struct key *key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (*name != '\0' && !strchr(name, '.') && strcmp(keys[i].section, name) == 0)
			return true;
	}
	return false;
}

/* The words that can stand in a section, or at the top for "". */
static size_t words_of(const char *section, const char *words[KEYS])
{
	size_t count = 0;

	for (size_t i = 0; i < KEYS; i++) {
		const char *word = keys[i].name;

		if (*section == '\0' && *keys[i].section != '\0') {
			word = keys[i].section;
			if (strchr(word, '.'))
				continue;
			if (i > 0 && strcmp(keys[i - 1].section, word) == 0)
				continue;
		} else if (strcmp(keys[i].section, section) != 0) {
			continue;
		}
		words[count++] = word;
	}
	return count;
}

static int unknown_key(const struct reading *r, const char *section, const struct tree_node *n)
{
	char quoted[TEXT_QUOTE_BYTES], full[2 * DOTTED_BYTES], all[FORM_BYTES] = "", name[DOTTED_BYTES];
	const char *words[KEYS], *dot = *section != '\0' ? "." : "", *near;
	size_t count = words_of(section, words), len = 0;

	(void)snprintf(full, sizeof(full), "%s%s%.80s", section, dot, n->key);
	text_quote(full, quoted);
	near = text_nearest(n->key, words, count);
	if (near)
		return fault(r, n->line, "key %s is not known; is %s%s%s meant?", quoted, section, dot, near);
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, n->key) == 0)
			return fault(r, n->line, "key %s is not known; is %s meant?", quoted, dotted(&keys[i], name));
	}
	for (size_t i = 0; i < count && len < sizeof(all); i++)
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "", words[i]);
	return fault(r, n->line, "key %s is not known; the keys here are %s", quoted, all);
}

static int read_section(const struct reading *r, const char *section, const struct tree_node *map)
{
	const char *words[KEYS];
	int rc = 0;

	/* Everything in it is commented out. */
	if (tree_is_nothing(map))
		return 0;
	if (map->kind != TREE_MAP)
		return fault(r, map->line, "%s: is %s; a map with keys such as %s would be right", section, tree_kind_text(map->kind),
		             words_of(section, words) > 0 ? words[0] : "");
	for (const struct tree_node *n = map->first; n && rc == 0; n = n->next) {
		const struct key *k = key_find(section, n->key);

		if (!k)
			return unknown_key(r, section, n);
		r->config->lines[k - keys] = n->line;
		rc = take_value(r, k, n);
	}
	return rc;
}

static int read_all(const struct reading *r, const struct tree_node *root)
{
	int rc = 0;

	if (!root)
		return 0;
	if (root->kind != TREE_MAP)
		return fault(r, root->line, "begins with %s; a map with keys such as node would be right", tree_kind_text(root->kind));
	for (const struct tree_node *n = root->first; n && rc == 0; n = n->next) {
		const struct key *k = key_find("", n->key);

		if (k) {
			r->config->lines[k - keys] = n->line;
			rc = take_value(r, k, n);
		} else if (is_section(n->key)) {
			rc = read_section(r, n->key, n);
		} else {
			rc = unknown_key(r, "", n);
		}
	}
	return rc;
}

static int take_default(const struct reading *r, const struct key *k)
{
	struct tree_node n = { .kind = TREE_TEXT, .text = k->standard, .is_quoted = true };
	char bare[DOTTED_BYTES];
	size_t len = strlen(k->standard);

	/* The two forms of defaults that YAML itself would take apart. */
	if (strcmp(k->standard, "[]") == 0)
		return 0;
	if (k->standard[0] == '"') {
		memcpy(bare, k->standard + 1, len - 2);
		bare[len - 2] = '\0';
		n.text = bare;
	}
	return take_value(r, k, &n);
}

/* The name of this node where one file serves many. The file's own, if it has one, was checked like every value. */
static int take_node_flag(const struct reading *r)
{
	const struct key *k = key_find("", "node");
	char form[FORM_BYTES], quoted[TEXT_QUOTE_BYTES];

	if (!text_is_subdomain(r->node)) {
		(void)snprintf(r->error, CONFIG_ERROR_BYTES, "--node: %s is no node's name; %s would be right", text_quote(r->node, quoted),
		               form_of(k, form));
		return -EINVAL;
	}
	memcpy(r->config->node, r->node, strlen(r->node) + 1);
	return 0;
}

/* What can only be judged when all is read. */
static int check_whole(const struct reading *r)
{
	const struct config *c = r->config;
	unsigned file_line = config_line(c, "nodes.file"), kubernetes_line = config_line(c, "nodes.kubernetes");
	char name[DOTTED_BYTES], form[FORM_BYTES];

	if (file_line > 0 && kubernetes_line > 0)
		return fault(r, kubernetes_line,
		             "two sources of nodes: nodes.file (line %u) and nodes.kubernetes; one of them would be right", file_line);
	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i].standard || c->lines[i] > 0 || (keys[i].kind == KIND_NODE && r->node))
			continue;
		if (strcmp(keys[i].section, "nodes") != 0)
			return fault(r, 0, "%s is missing; %s would be right", dotted(&keys[i], name), form_of(&keys[i], form));
		if (file_line == 0 && kubernetes_line == 0)
			return fault(r, 0,
			             "nodes.file is missing; an absolute path, or in its place nodes: {kubernetes: {}}, would be right");
	}
	if (c->identity.signer[0] && kubernetes_line == 0)
		return fault(
			r, config_line(c, "identity.signer"),
			"identity.signer: the cluster is asked for the certificate, so the nodes must come from it (nodes: {kubernetes: {}}); "
			"\"\" would be right here");
	return 0;
}

static int config_from_tree(const char *path, const struct tree *t, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct config c = { 0 };
	struct reading r = { .path = path, .error = error, .config = &c, .node = node };
	int rc = 0;

	for (size_t i = 0; i < KEYS && rc == 0; i++) {
		if (keys[i].standard)
			rc = take_default(&r, &keys[i]);
	}
	if (rc == 0)
		rc = read_all(&r, tree_root(t));
	if (rc == 0 && node)
		rc = take_node_flag(&r);
	if (rc == 0)
		rc = check_whole(&r);
	if (rc < 0) {
		config_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

int config_load(const char *path, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_load(path, &t, error);

	if (rc < 0)
		return rc;
	rc = config_from_tree(path, t, node, ret, error);
	tree_destroy(t);
	return rc;
}

int config_parse(const char *path, const char *text, size_t len_bytes, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_parse(path, text, len_bytes, &t, error);

	if (rc < 0)
		return rc;
	rc = config_from_tree(path, t, node, ret, error);
	tree_destroy(t);
	return rc;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < c->capture.devices.count; i++)
		free(c->capture.devices.names[i]);
	free(c->capture.devices.names);
	free(c->nodes.kubernetes.service_ranges.items);
	free(c->capture.cluster_pods.items);
	free(c->capture.exclude.items);
	*c = (struct config){ 0 };
}

unsigned config_line(const struct config *c, const char *key)
{
	char name[DOTTED_BYTES];

	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(dotted(&keys[i], name), key) == 0)
			return c->lines[i];
	}
	return 0;
}

/* In double quotes, which is right for every text in YAML; ours are printable ASCII. */
static void print_quoted(const char *text, FILE *out)
{
	(void)fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', out);
		(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

static void print_devices(const struct config_devices *devices, FILE *out)
{
	if (!devices->names) {
		(void)fputs("auto", out);
		return;
	}
	for (size_t i = 0; i < devices->count; i++) {
		(void)fputs(i > 0 ? ", " : "[", out);
		print_quoted(devices->names[i], out);
	}
	(void)fputc(']', out);
}

static void print_prefixes(const struct config_prefixes *prefixes, FILE *out)
{
	char text[PREFIX_TEXT_BYTES];

	(void)fputc('[', out);
	for (size_t i = 0; i < prefixes->count; i++)
		(void)fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", prefix_print(&prefixes->items[i], text));
	(void)fputc(']', out);
}

static void print_excludes(const struct config_excludes *excludes, FILE *out)
{
	char text[PREFIX_TEXT_BYTES];

	(void)fputc('[', out);
	for (size_t i = 0; i < excludes->count; i++) {
		const struct config_exclude *e = &excludes->items[i];

		if (e->is_port)
			(void)snprintf(text, sizeof(text), "tcp/%u", (unsigned)e->port);
		else
			prefix_print(&e->prefix, text);
		(void)fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", text);
	}
	(void)fputc(']', out);
}

static void print_value(const struct key *k, const struct config *c, FILE *out)
{
	const void *at = (const char *)c + k->offset;
	const struct config_listen *listen;
	char text[ENDPOINT_TEXT_BYTES];

	switch (k->kind) {
	case KIND_NODE:
	case KIND_RUNTIME:
	case KIND_PATH:
	case KIND_NAME:
	case KIND_SIGNER:
	case KIND_TEXT:
		print_quoted(at, out);
		break;
	case KIND_NUMBER:
		(void)fprintf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case KIND_DURATION:
		(void)fputs(print_unit(*(const uint64_t *)at, duration_units, text), out);
		break;
	case KIND_SIZE:
		(void)fputs(print_unit(*(const uint64_t *)at, size_units, text), out);
		break;
	case KIND_CHOICE:
		for (const struct choice *choice = k->choices; choice->text; choice++) {
			if (choice->value == *(const int *)at)
				(void)fputs(choice->text, out);
		}
		break;
	case KIND_DEVICES:
		print_devices(at, out);
		break;
	case KIND_PREFIXES:
		print_prefixes(at, out);
		break;
	case KIND_EXCLUDES:
		print_excludes(at, out);
		break;
	case KIND_LISTEN:
		listen = at;
		(void)fprintf(out, "\"%s\"", listen->is_on ? endpoint_print(&listen->endpoint, text) : "");
		break;
	case KIND_MAP:
		break;
	}
}

/* Of the two sources of nodes the other. */
static bool is_left_out(const struct key *k, const struct config *c)
{
	bool is_kubernetes = k->kind == KIND_MAP || strcmp(k->section, KUBERNETES) == 0;

	return c->nodes.is_kubernetes ? strcmp(k->section, "nodes") == 0 && k->kind == KIND_PATH : is_kubernetes;
}

void config_print(const struct config *c, FILE *out)
{
	const char *section = "";

	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];
		bool is_inner = strchr(k->section, '.') != NULL;

		if (is_left_out(k, c))
			continue;
		if (strcmp(k->section, section) != 0 && !is_inner)
			(void)fprintf(out, "%s:\n", k->section);
		section = k->section;
		(void)fprintf(out, "%s%s:%s", is_inner ? "    " : *section != '\0' ? "  " : "", k->name, k->kind == KIND_MAP ? "" : " ");
		print_value(k, c, out);
		(void)fputc('\n', out);
	}
}

void config_describe(FILE *out)
{
	char name[DOTTED_BYTES], form[FORM_BYTES];

	(void)fputs("| key | value | default | what it does |\n|---|---|---|---|\n", out);
	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];

		(void)fprintf(out, "| `%s` | %s | ", dotted(k, name), form_of(k, form));
		if (k->standard)
			(void)fprintf(out, "`%s`", k->standard);
		else if (strcmp(k->section, "nodes") == 0)
			(void)fputs("one of the two must be given", out);
		else
			(void)fputs("must be given", out);
		(void)fprintf(out, " | %s |\n", k->about);
	}
}
