/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/kinds.h"

#include "base/text.h"
#include "kube/unpack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const phases[] = {
	[OBJECT_PHASE_UNKNOWN] = "Unknown", [OBJECT_PENDING] = "Pending", [OBJECT_RUNNING] = "Running",
	[OBJECT_SUCCEEDED] = "Succeeded",   [OBJECT_FAILED] = "Failed",
};

/* ---- Labels and annotations ---- */

static const char *find_label(const Culvert__Kube__ObjectMeta *meta, const char *key)
{
	return meta ? unpack_find(meta->labels, meta->n_labels, key) : NULL;
}

static const char *find_annotation(const Culvert__Kube__ObjectMeta *meta, const char *key)
{
	return meta ? unpack_find(meta->annotations, meta->n_annotations, key) : NULL;
}

/* A label or an annotation with two values of which one is the default, so that one is faulted that means neither. */
static bool is_set(struct message *m, const char *where, const char *key, const char *value, const char *set, const char *otherwise)
{
	char quoted[TEXT_QUOTE_BYTES];

	if (!value || value[0] == '\0' || strcmp(value, otherwise) == 0)
		return false;
	if (strcmp(value, set) == 0)
		return true;
	unpack_fault(m, "metadata.%s[%s]: %s is taken as \"%s\"; \"%s\" or \"%s\" would be right", where, key, text_quote(value, quoted),
	             otherwise, set, otherwise);
	return false;
}

/* ---- Nodes ---- */

static void take_node_addresses(struct message *m, const Culvert__Kube__NodeStatus *status, const char *type, struct addr *addresses,
                                size_t *count)
{
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < status->n_addresses; i++) {
		const Culvert__Kube__NodeAddress *a = status->addresses[i];

		if (strcmp(a->type, type) != 0)
			continue;
		if (addr_parse(a->address, &addresses[*count]) == 0)
			(*count)++;
		else
			unpack_fault(m, "status.addresses[%zu].address: %s is no IP address (%s)", i, text_quote(a->address, quoted), type);
	}
}

/* Under which a node's own packets to other nodes' pods go out where the pods' network is Calico's overlay: out of the pods' space, and not in
 * status.addresses. Each node's part of it writes them. */
static const char *const tunnel_annotations[] = {
	"projectcalico.org/IPv4IPIPTunnelAddr",         "projectcalico.org/IPv4VXLANTunnelAddr",
	"projectcalico.org/IPv6VXLANTunnelAddr",        "projectcalico.org/IPv4WireguardInterfaceAddr",
	"projectcalico.org/IPv6WireguardInterfaceAddr",
};
enum { TUNNEL_ANNOTATIONS = sizeof(tunnel_annotations) / sizeof(tunnel_annotations[0]) };

static void take_tunnel_addresses(struct message *m, const Culvert__Kube__ObjectMeta *meta, struct addr *addresses, size_t *count)
{
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < TUNNEL_ANNOTATIONS; i++) {
		const char *text = find_annotation(meta, tunnel_annotations[i]);

		if (!text || text[0] == '\0')
			continue;
		if (addr_parse(text, &addresses[*count]) == 0)
			(*count)++;
		else
			unpack_fault(m, "metadata.annotations[%s]: %s is no IP address", tunnel_annotations[i], text_quote(text, quoted));
	}
}

static void take_range(struct message *m, const char *where, size_t index, const char *text, struct object_node *n, struct prefix *ranges)
{
	char quoted[TEXT_QUOTE_BYTES], why[PREFIX_FAULT_BYTES];
	struct prefix p = { 0 };
	int rc = prefix_parse(text, &p);

	if (rc == 0)
		ranges[n->ranges_count++] = p;
	else
		unpack_fault(m, "%s[%zu]: %s %s", where, index, text_quote(text, quoted), prefix_fault(rc, &p, why));
}

static int take_node(struct message *m, const void *bytes, size_t len_bytes, struct object_node *ret)
{
	struct object_node n = { 0 };
	const Culvert__Kube__Node *node;
	struct prefix *ranges;
	struct addr *addresses;
	int rc;

	node = unpack_message(m, &culvert__kube__node__descriptor, "Node", bytes, len_bytes, &rc);
	if (!node)
		return rc;
	rc = unpack_meta(m, "Node", node->metadata, &n.meta);
	if (rc < 0)
		return rc;
	addresses = arena_take_array(&m->arena, (node->status ? node->status->n_addresses : 0) + TUNNEL_ANNOTATIONS, sizeof(*addresses));
	if (!addresses)
		return unpack_no_memory(m);
	if (node->status) {
		take_node_addresses(m, node->status, "InternalIP", addresses, &n.addresses_count);
		take_node_addresses(m, node->status, "ExternalIP", addresses, &n.addresses_count);
	}
	take_tunnel_addresses(m, node->metadata, addresses, &n.addresses_count);
	n.addresses = addresses;
	if (node->spec) {
		ranges = arena_take_array(&m->arena, node->spec->n_podcidrs + 1, sizeof(*ranges));
		if (!ranges)
			return unpack_no_memory(m);
		for (size_t i = 0; i < node->spec->n_podcidrs; i++)
			take_range(m, "spec.podCIDRs", i, node->spec->podcidrs[i], &n, ranges);
		if (node->spec->n_podcidrs == 0 && node->spec->podcidr[0] != '\0')
			take_range(m, "spec.podCIDR", 0, node->spec->podcidr, &n, ranges);
		n.ranges = ranges;
	}
	n.is_unenrolled = is_set(m, "annotations", MESSAGE_KEY_ENROLLED, find_annotation(node->metadata, MESSAGE_KEY_ENROLLED), "false",
	                         "true");
	*ret = n;
	return 0;
}

/* ---- Pods ---- */

static int take_pod_addresses(struct message *m, const Culvert__Kube__PodStatus *status, struct object_pod *p)
{
	struct addr *addresses = arena_take_array(&m->arena, status->n_podips + 1, sizeof(*addresses));
	char quoted[TEXT_QUOTE_BYTES];
	struct addr first;
	bool is_first_found = false;

	if (!addresses)
		return unpack_no_memory(m);
	p->addresses = addresses;
	for (size_t i = 0; i < status->n_podips; i++) {
		if (addr_parse(status->podips[i]->ip, &addresses[p->addresses_count]) == 0)
			p->addresses_count++;
		else
			unpack_fault(m, "status.podIPs[%zu].ip: %s is no IP address", i, text_quote(status->podips[i]->ip, quoted));
	}
	if (status->podip[0] == '\0')
		return 0;
	if (addr_parse(status->podip, &first) < 0) {
		unpack_fault(m, "status.podIP: %s is no IP address", text_quote(status->podip, quoted));
		return 0;
	}
	for (size_t i = 0; i < p->addresses_count; i++)
		is_first_found = is_first_found || addr_equal(&addresses[i], &first);
	if (status->n_podips == 0)
		addresses[p->addresses_count++] = first;
	else if (!is_first_found)
		unpack_fault(m, "status.podIP: %s is not in status.podIPs, which are taken", text_quote(status->podip, quoted));
	return 0;
}

static void take_phase(struct message *m, const char *text, struct object_pod *p)
{
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(text, phases[i]) == 0) {
			p->phase = (enum object_phase)i;
			return;
		}
	}
	if (text[0] != '\0')
		unpack_fault(m, "status.phase: %s is not known; Pending, Running, Succeeded or Failed would be right",
		             text_quote(text, quoted));
}

static int take_pod(struct message *m, const void *bytes, size_t len_bytes, struct object_pod *ret)
{
	struct object_pod p = { .node = "", .account = "" };
	const Culvert__Kube__Pod *pod;
	const char *name, *component;
	char quoted[TEXT_QUOTE_BYTES];
	int rc;

	pod = unpack_message(m, &culvert__kube__pod__descriptor, "Pod", bytes, len_bytes, &rc);
	if (!pod)
		return rc;
	rc = unpack_meta(m, "Pod", pod->metadata, &p.meta);
	if (rc < 0)
		return rc;
	if (pod->spec) {
		p.account = pod->spec->serviceaccountname;
		p.is_host_network = pod->spec->hostnetwork;
		if (pod->spec->nodename[0] == '\0' || text_is_subdomain(pod->spec->nodename))
			p.node = pod->spec->nodename;
		else
			unpack_fault(m, "spec.nodeName: %s is no name of a node", text_quote(pod->spec->nodename, quoted));
	}
	if (pod->status) {
		rc = take_pod_addresses(m, pod->status, &p);
		if (rc < 0)
			return rc;
		take_phase(m, pod->status->phase, &p);
	}
	p.is_opted_out = is_set(m, "annotations", MESSAGE_KEY_MODE, find_annotation(pod->metadata, MESSAGE_KEY_MODE), "disabled",
	                        "enabled");
	name = find_label(pod->metadata, "app.kubernetes.io/name");
	component = find_label(pod->metadata, "app.kubernetes.io/component");
	p.is_culvert = name && component && strcmp(name, "culvert") == 0 && strcmp(component, "daemon") == 0;
	*ret = p;
	return 0;
}

/* ---- Namespaces, records ---- */

static int take_namespace(struct message *m, const void *bytes, size_t len_bytes, struct object_namespace *ret)
{
	struct object_namespace n = { 0 };
	const Culvert__Kube__Object *object;
	int rc;

	object = unpack_message(m, &culvert__kube__object__descriptor, "Namespace", bytes, len_bytes, &rc);
	if (!object)
		return rc;
	rc = unpack_meta(m, "Namespace", object->metadata, &n.meta);
	if (rc < 0)
		return rc;
	n.is_opted_out = is_set(m, "labels", MESSAGE_KEY_MODE, find_label(object->metadata, MESSAGE_KEY_MODE), "disabled", "enabled");
	*ret = n;
	return 0;
}

static int take_record(struct message *m, const void *bytes, size_t len_bytes, struct object_record *ret)
{
	struct object_record r = { .node_uid = "" };
	const Culvert__Kube__Lease *lease;
	char quoted[TEXT_QUOTE_BYTES];
	const char *text;
	uint64_t port;
	int rc;

	lease = unpack_message(m, &culvert__kube__lease__descriptor, "Lease", bytes, len_bytes, &rc);
	if (!lease)
		return rc;
	rc = unpack_meta(m, "Lease", lease->metadata, &r.meta);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < lease->metadata->n_ownerreferences; i++) {
		const Culvert__Kube__OwnerReference *owner = lease->metadata->ownerreferences[i];

		if (strcmp(owner->kind, "Node") != 0 || strcmp(owner->apiversion, "v1") != 0)
			continue;
		if (strcmp(owner->name, r.meta.name) == 0)
			r.node_uid = owner->uid;
		else
			unpack_fault(m, "metadata.ownerReferences[%zu].name: %s is another node than the record's name says", i,
			             text_quote(owner->name, quoted));
	}
	text = find_annotation(lease->metadata, MESSAGE_KEY_PORT);
	if (text && text_parse_u64(text, &port) == 0 && port >= 1 && port <= UINT16_MAX)
		r.tunnel_port = (uint32_t)port;
	else if (text)
		unpack_fault(m, "metadata.annotations[" MESSAGE_KEY_PORT "]: %s is no port; 1 to 65535 would be right",
		             text_quote(text, quoted));
	text = find_annotation(lease->metadata, MESSAGE_KEY_SETTINGS);
	r.settings_hash = text ? text : "";
	*ret = r;
	return 0;
}

/* ---- Endpoints ---- */

static void take_subset(struct message *m, size_t index, const Culvert__Kube__EndpointSubset *subset, struct object_endpoints *e,
                        struct endpoint *endpoints)
{
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < subset->n_addresses; i++) {
		struct endpoint at;

		if (addr_parse(subset->addresses[i]->ip, &at.addr) < 0) {
			unpack_fault(m, "subsets[%zu].addresses[%zu].ip: %s is no IP address", index, i,
			             text_quote(subset->addresses[i]->ip, quoted));
			continue;
		}
		for (size_t k = 0; k < subset->n_ports; k++) {
			const Culvert__Kube__EndpointPort *port = subset->ports[k];

			if (port->protocol[0] != '\0' && strcmp(port->protocol, "TCP") != 0)
				continue;
			if (port->port < 1 || port->port > UINT16_MAX) {
				unpack_fault(m, "subsets[%zu].ports[%zu].port: %d is no port; 1 to 65535 would be right", index, k,
				             port->port);
				continue;
			}
			if (e->endpoints_count == OBJECT_ENDPOINTS_MAX) {
				unpack_fault(m, "subsets: more than %d addresses and ports; the others are left out", OBJECT_ENDPOINTS_MAX);
				return;
			}
			at.port = (uint16_t)port->port;
			endpoints[e->endpoints_count++] = at;
		}
	}
}

static int take_endpoints(struct message *m, const void *bytes, size_t len_bytes, struct object_endpoints *ret)
{
	struct object_endpoints e = { 0 };
	const Culvert__Kube__Endpoints *object;
	struct endpoint *endpoints;
	int rc;

	object = unpack_message(m, &culvert__kube__endpoints__descriptor, "Endpoints", bytes, len_bytes, &rc);
	if (!object)
		return rc;
	rc = unpack_meta(m, "Endpoints", object->metadata, &e.meta);
	if (rc < 0)
		return rc;
	endpoints = arena_take_array(&m->arena, OBJECT_ENDPOINTS_MAX, sizeof(*endpoints));
	if (!endpoints)
		return unpack_no_memory(m);
	for (size_t i = 0; i < object->n_subsets; i++)
		take_subset(m, i, object->subsets[i], &e, endpoints);
	e.endpoints = endpoints;
	*ret = e;
	return 0;
}

/* ---- Requests for certificates ---- */

static int take_extra(struct message *m, const Culvert__Kube__CertificateSigningRequestSpec *spec, struct object_request *r)
{
	struct object_extra *extra = arena_take_array(&m->arena, spec->n_extra, sizeof(*extra));

	if (!extra)
		return unpack_no_memory(m);
	for (size_t i = 0; i < spec->n_extra; i++) {
		const Culvert__Kube__ExtraValue *value = spec->extra[i]->value;

		extra[i].key = spec->extra[i]->key;
		extra[i].values = value ? (const char *const *)value->items : NULL;
		extra[i].values_count = value ? value->n_items : 0;
	}
	r->extra = extra;
	r->extra_count = spec->n_extra;
	return 0;
}

static void take_condition(const Culvert__Kube__CertificateSigningRequestCondition *c, struct object_request *r)
{
	bool is_so = c->status[0] == '\0' || strcmp(c->status, "True") == 0;
	const char *text = c->message[0] ? c->message : c->reason;

	if (strcmp(c->type, "Approved") == 0) {
		r->is_approved = is_so;
		return;
	}
	if (strcmp(c->type, "Denied") == 0)
		r->is_denied = is_so;
	else if (strcmp(c->type, "Failed") == 0)
		r->is_failed = is_so;
	else
		return;
	if (is_so)
		r->verdict = text;
}

static int take_request(struct message *m, const void *bytes, size_t len_bytes, struct object_request *ret)
{
	struct object_request r = { .signer = "", .username = "", .user_uid = "", .verdict = "" };
	const Culvert__Kube__CertificateSigningRequest *request;
	int rc;

	request = unpack_message(m, &culvert__kube__certificate_signing_request__descriptor, "CertificateSigningRequest", bytes, len_bytes,
	                         &rc);
	if (!request)
		return rc;
	rc = unpack_meta(m, message_kind_name(OBJECT_REQUEST), request->metadata, &r.meta);
	if (rc < 0)
		return rc;
	if (request->spec) {
		r.signer = request->spec->signername;
		r.username = request->spec->username;
		r.user_uid = request->spec->uid;
		r.pem = request->spec->request.data;
		r.pem_bytes = request->spec->request.len;
		r.usages = (const char *const *)request->spec->usages;
		r.usages_count = request->spec->n_usages;
		r.lifetime_s = request->spec->expirationseconds;
		rc = take_extra(m, request->spec, &r);
		if (rc < 0)
			return rc;
	}
	if (request->status) {
		for (size_t i = 0; i < request->status->n_conditions; i++)
			take_condition(request->status->conditions[i], &r);
		r.certificate = request->status->certificate.len ? request->status->certificate.data : NULL;
		r.certificate_bytes = request->status->certificate.len;
	}
	*ret = r;
	return 0;
}

/* ---- All of them ---- */

int kinds_take(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret)
{
	struct object o = { .kind = kind };
	int rc = -EINVAL;

	switch (kind) {
	case OBJECT_NODE:
		rc = take_node(m, bytes, len_bytes, &o.node);
		break;
	case OBJECT_POD:
		rc = take_pod(m, bytes, len_bytes, &o.pod);
		break;
	case OBJECT_NAMESPACE:
		rc = take_namespace(m, bytes, len_bytes, &o.name_space);
		break;
	case OBJECT_RECORD:
		rc = take_record(m, bytes, len_bytes, &o.record);
		break;
	case OBJECT_ENDPOINTS:
		rc = take_endpoints(m, bytes, len_bytes, &o.endpoints);
		break;
	case OBJECT_REQUEST:
		rc = take_request(m, bytes, len_bytes, &o.request);
		break;
	case OBJECT_KINDS:
		break;
	}
	if (rc < 0)
		return rc;
	o.faults = m->faults;
	o.faults_count = m->faults_count;
	*ret = o;
	return 0;
}
