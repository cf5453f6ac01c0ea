/* SPDX-License-Identifier: GPL-3.0-or-later */
/* object.h - what a cluster's API says of its nodes, pods, namespaces, records, endpoints and requests for certificates, as plain data without any
 * library's types.
 * kube/message fills it from protobuf, cluster/registry makes a view of it. Texts and arrays are borrowed: they live as long as the call
 * that hands an object over. A text that is not there is "", never NULL. */
#ifndef CULVERT_CLUSTER_OBJECT_H
#define CULVERT_CLUSTER_OBJECT_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum object_kind { OBJECT_NODE, OBJECT_POD, OBJECT_NAMESPACE, OBJECT_RECORD, OBJECT_ENDPOINTS, OBJECT_REQUEST, OBJECT_KINDS };

/* metadata of every object (k8s.io/apimachinery, meta/v1 ObjectMeta). */
struct object_meta {
	const char *name_space, *name, *uid;
	const char *version; /* resourceVersion: opaque, compared for equality only */
	int64_t created_s;   /* Unix time; 0: not said */
	bool is_deleting;    /* deletionTimestamp is set */
};

struct object_node {
	struct object_meta meta;
	/* status.addresses of the types InternalIP and ExternalIP, InternalIP first, then those of overlay devices (annotations); those that parse */
	const struct addr *addresses;
	size_t addresses_count;
	const struct prefix *ranges; /* spec.podCIDRs, or podCIDR */
	size_t ranges_count;
	bool is_unenrolled; /* annotation culvert.dev/enrolled: "false" */
};

enum object_phase { OBJECT_PHASE_UNKNOWN, OBJECT_PENDING, OBJECT_RUNNING, OBJECT_SUCCEEDED, OBJECT_FAILED };

struct object_pod {
	struct object_meta meta;
	const char *node;             /* spec.nodeName; "": not scheduled */
	const char *account;          /* spec.serviceAccountName */
	const struct addr *addresses; /* status.podIPs, or podIP */
	size_t addresses_count;
	enum object_phase phase;
	bool is_host_network;
	bool is_opted_out; /* annotation culvert.dev/mode: disabled */
	bool is_culvert;   /* label app.kubernetes.io/name: culvert, component: daemon; its node's identity may be named after it */
};

struct object_namespace {
	struct object_meta meta;
	bool is_opted_out; /* label culvert.dev/mode: disabled */
};

/* A Lease (coordination.k8s.io/v1) in the namespace of the records: this node is enrolled. */
struct object_record {
	struct object_meta meta;   /* its name is the node's */
	const char *node_uid;      /* of the Node object that owns it (ownerReferences) */
	uint32_t tunnel_port;      /* annotation culvert.dev/port; 0: not said */
	const char *settings_hash; /* annotation culvert.dev/settings */
};

enum { OBJECT_ENDPOINTS_MAX = 64 };

/* Endpoints (v1): where a Service's pods, or its servers, listen. */
struct object_endpoints {
	struct object_meta meta;
	const struct endpoint *endpoints; /* TCP; those that are ready; at most OBJECT_ENDPOINTS_MAX */
	size_t endpoints_count;
};

/* What the API server says of who made a request, beside the name: "authentication.kubernetes.io/pod-name" and so on. */
struct object_extra {
	const char *key;
	const char *const *values;
	size_t values_count;
};

/* A CertificateSigningRequest (certificates.k8s.io/v1). The last condition of each type counts. */
struct object_request {
	struct object_meta meta;
	const char *signer, *username, *user_uid;
	const void *pem; /* the request */
	size_t pem_bytes;
	const char *const *usages;
	size_t usages_count;
	const struct object_extra *extra;
	size_t extra_count;
	int32_t lifetime_s; /* asked for; 0: not said */
	bool is_approved, is_denied, is_failed;
	const char *verdict;     /* the message, or else the reason, of Denied or Failed */
	const void *certificate; /* PEM; NULL: not issued */
	size_t certificate_bytes;
};

/* What a field said that could not be taken, for one line in the log and the status: the object is handed over without that field. */
struct object_fault {
	char text[256]; /* "status.podIPs[1].ip: \"10.1.2\" is no address" */
};

struct object {
	enum object_kind kind;
	union {
		struct object_meta meta; /* the first member of all of them */
		struct object_node node;
		struct object_pod pod;
		struct object_namespace name_space;
		struct object_record record;
		struct object_endpoints endpoints;
		struct object_request request;
	};
	const struct object_fault *faults;
	size_t faults_count;
};

#endif
