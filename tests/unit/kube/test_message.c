/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "encode.h"
#include "kube/arena.h"
#include "kube/message.h"
#include "kube/split.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct message *m;

static int set_up(void **state)
{
	(void)state;
	return message_create(&m);
}

static int tear_down(void **state)
{
	(void)state;
	message_destroy(m);
	return 0;
}

static int decode(enum object_kind kind, struct bytes *b, struct object *ret)
{
	/* In memory of its own, that goes at once: nothing may point into the input. */
	uint8_t *copy = malloc(b->len ? b->len : 1);
	int rc;

	assert_non_null(copy);
	if (b->len > 0)
		memcpy(copy, b->data, b->len);
	rc = message_object(m, kind, copy, b->len, ret);
	memset(copy, 0xa5, b->len);
	free(copy);
	bytes_done(b);
	return rc;
}

static void assert_address(const struct addr *a, const char *text)
{
	char printed[ADDR_TEXT_BYTES];

	assert_string_equal(addr_print(a, printed), text);
}

/* metadata with all that we read of it, and what we do not. */
static void put_full_meta(struct bytes *b, const char *name)
{
	struct bytes meta = { 0 }, time = { 0 }, owner = { 0 };

	put_text(&meta, 1, name);
	put_text(&meta, 3, "space");
	put_text(&meta, 4, "/api/v1/self/link");
	put_text(&meta, 5, "0f1e");
	put_text(&meta, 6, "1234");
	put_number(&meta, 7, 3);
	put_number(&time, 1, 1700000000);
	put_number(&time, 2, 5);
	put_message(&meta, 8, &time);
	put_number(&time, 1, 1700000009);
	put_message(&meta, 9, &time);
	put_entry(&meta, 11, "app", "x");
	put_entry(&meta, 11, "app.kubernetes.io/name", "culvert");
	put_entry(&meta, 11, "app.kubernetes.io/component", "daemon");
	put_entry(&meta, 12, "culvert.dev/mode", "disabled");
	put_text(&owner, 1, "DaemonSet");
	put_message(&meta, 13, &owner);
	put_text(&meta, 17, "managed fields of which nothing is known here");
	put_message(b, 1, &meta);
}

static void test_a_pod(void **state)
{
	struct bytes b = { 0 }, spec = { 0 }, status = { 0 }, ip = { 0 };
	struct object o;

	(void)state;
	put_full_meta(&b, "web-0");
	put_text(&spec, 2, "a container");
	put_text(&spec, 10, "node1");
	put_number(&spec, 11, 1);
	put_message(&b, 2, &spec);
	put_text(&status, 1, "Running");
	put_text(&status, 6, "10.1.2.3");
	put_text(&ip, 1, "10.1.2.3");
	put_message(&status, 12, &ip);
	put_text(&ip, 1, "fd00::3");
	put_message(&status, 12, &ip);
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_int_equal(o.kind, OBJECT_POD);
	assert_string_equal(o.meta.name, "web-0");
	assert_string_equal(o.meta.name_space, "space");
	assert_string_equal(o.meta.uid, "0f1e");
	assert_string_equal(o.meta.version, "1234");
	assert_int_equal(o.meta.created_s, 1700000000);
	assert_true(o.meta.is_deleting);
	assert_string_equal(o.pod.node, "node1");
	assert_true(o.pod.is_host_network);
	assert_true(o.pod.is_opted_out);
	assert_true(o.pod.is_culvert);
	assert_int_equal(o.pod.phase, OBJECT_RUNNING);
	assert_int_equal(o.pod.addresses_count, 2);
	assert_address(&o.pod.addresses[0], "10.1.2.3");
	assert_address(&o.pod.addresses[1], "fd00::3");
	assert_int_equal(o.faults_count, 0);
}

static void test_a_pod_of_which_little_is_known(void **state)
{
	struct bytes b = { 0 }, status = { 0 };
	struct object o;

	(void)state;
	put_meta(&b, "", "new", "", "");
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_string_equal(o.meta.name_space, "");
	assert_string_equal(o.pod.node, "");
	assert_int_equal(o.pod.phase, OBJECT_PHASE_UNKNOWN);
	assert_int_equal(o.pod.addresses_count, 0);
	assert_false(o.meta.is_deleting || o.pod.is_culvert || o.pod.is_opted_out || o.pod.is_host_network);
	assert_int_equal(o.faults_count, 0);

	/* Before Kubernetes knew podIPs. */
	put_meta(&b, "", "old", "", "");
	put_text(&status, 1, "Pending");
	put_text(&status, 6, "10.0.0.9");
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_int_equal(o.pod.addresses_count, 1);
	assert_address(&o.pod.addresses[0], "10.0.0.9");
}

static void test_faults_of_a_pod_name_field_and_value(void **state)
{
	struct bytes b = { 0 }, meta = { 0 }, spec = { 0 }, status = { 0 }, ip = { 0 };
	struct object o;

	(void)state;
	put_text(&meta, 1, "odd");
	put_entry(&meta, 12, "culvert.dev/mode", "off");
	put_message(&b, 1, &meta);
	put_text(&spec, 10, "No Node");
	put_message(&b, 2, &spec);
	put_text(&status, 1, "Dreaming");
	put_text(&status, 6, "10.1.2.4");
	put_text(&ip, 1, "10.1.2");
	put_message(&status, 12, &ip);
	put_text(&ip, 1, "10.1.2.3");
	put_message(&status, 12, &ip);
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_int_equal(o.faults_count, 5);
	assert_string_equal(o.faults[0].text, "spec.nodeName: \"No Node\" is no name of a node");
	assert_string_equal(o.faults[1].text, "status.podIPs[0].ip: \"10.1.2\" is no IP address");
	assert_string_equal(o.faults[2].text, "status.podIP: \"10.1.2.4\" is not in status.podIPs, which are taken");
	assert_string_equal(o.faults[3].text,
	                    "status.phase: \"Dreaming\" is not known; Pending, Running, Succeeded or Failed would be right");
	assert_string_equal(
		o.faults[4].text,
		"metadata.annotations[culvert.dev/mode]: \"off\" is taken as \"enabled\"; \"disabled\" or \"enabled\" would be right");
	assert_string_equal(o.pod.node, "");
	assert_int_equal(o.pod.addresses_count, 1);
	assert_address(&o.pod.addresses[0], "10.1.2.3");
	assert_false(o.pod.is_opted_out);
}

static void test_more_faults_than_are_said(void **state)
{
	struct bytes b = { 0 }, status = { 0 }, ip = { 0 };
	struct object o;

	(void)state;
	put_meta(&b, "", "many", "", "");
	for (int i = 0; i < 100; i++) {
		put_text(&ip, 1, "x");
		put_message(&status, 12, &ip);
	}
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_int_equal(o.faults_count, MESSAGE_FAULTS_MAX);
	/* The next object begins with none. */
	put_meta(&b, "", "good", "", "");
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
	assert_int_equal(o.faults_count, 0);
}

static void put_node_address(struct bytes *status, const char *type, const char *address)
{
	struct bytes a = { 0 };

	put_text(&a, 1, type);
	put_text(&a, 2, address);
	put_message(status, 5, &a);
}

/* Calico's overlay devices have addresses out of the pods' space: what the node itself sends to another's pod goes out under them. */
static void test_a_nodes_tunnel_addresses(void **state)
{
	struct bytes b = { 0 }, meta = { 0 }, status = { 0 };
	struct object o;

	(void)state;
	put_text(&meta, 1, "node1");
	put_entry(&meta, 12, "projectcalico.org/IPv4Address", "172.30.0.1/24"); /* the node's own: status.addresses has it */
	put_entry(&meta, 12, "projectcalico.org/IPv4IPIPTunnelAddr", "10.2.77.0");
	put_entry(&meta, 12, "projectcalico.org/IPv4VXLANTunnelAddr", "10.2.77");
	put_entry(&meta, 12, "projectcalico.org/IPv6VXLANTunnelAddr", "fd00:2::7");
	put_entry(&meta, 12, "projectcalico.org/IPv4WireguardInterfaceAddr", "10.2.77.9");
	put_entry(&meta, 12, "projectcalico.org/IPv6WireguardInterfaceAddr", "");
	put_message(&b, 1, &meta);
	put_node_address(&status, "InternalIP", "172.30.0.1");
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_NODE, &b, &o), 0);
	assert_int_equal(o.node.addresses_count, 4);
	assert_address(&o.node.addresses[0], "172.30.0.1");
	assert_address(&o.node.addresses[1], "10.2.77.0");
	assert_address(&o.node.addresses[2], "fd00:2::7");
	assert_address(&o.node.addresses[3], "10.2.77.9");
	assert_int_equal(o.faults_count, 1);
	assert_string_equal(o.faults[0].text, "metadata.annotations[projectcalico.org/IPv4VXLANTunnelAddr]: \"10.2.77\" is no IP address");
}

static void test_a_node(void **state)
{
	struct bytes b = { 0 }, meta = { 0 }, spec = { 0 }, status = { 0 };
	char text[PREFIX_TEXT_BYTES];
	struct object o;

	(void)state;
	put_text(&meta, 1, "node1.example");
	put_entry(&meta, 12, "culvert.dev/enrolled", "false");
	put_message(&b, 1, &meta);
	put_text(&spec, 1, "10.2.0.0/24");
	put_text(&spec, 7, "10.2.0.0/24");
	put_text(&spec, 7, "fd00:2::/64");
	put_text(&spec, 7, "10.2.0.1/24");
	put_text(&spec, 7, "");
	put_message(&b, 2, &spec);
	put_node_address(&status, "ExternalIP", "203.0.113.1");
	put_node_address(&status, "Hostname", "node1");
	put_node_address(&status, "InternalIP", "172.30.0.1");
	put_node_address(&status, "InternalIP", "fd30::1");
	put_node_address(&status, "InternalIP", "nowhere");
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_NODE, &b, &o), 0);
	assert_int_equal(o.node.addresses_count, 3);
	assert_address(&o.node.addresses[0], "172.30.0.1");
	assert_address(&o.node.addresses[1], "fd30::1");
	assert_address(&o.node.addresses[2], "203.0.113.1");
	assert_int_equal(o.node.ranges_count, 2);
	assert_string_equal(prefix_print(&o.node.ranges[0], text), "10.2.0.0/24");
	assert_string_equal(prefix_print(&o.node.ranges[1], text), "fd00:2::/64");
	assert_true(o.node.is_unenrolled);
	assert_int_equal(o.faults_count, 3);
	assert_string_equal(o.faults[0].text, "status.addresses[4].address: \"nowhere\" is no IP address (InternalIP)");
	assert_non_null(strstr(o.faults[1].text, "spec.podCIDRs[2]: \"10.2.0.1/24\""));
	assert_non_null(strstr(o.faults[1].text, "10.2.0.0/24"));
	assert_non_null(strstr(o.faults[2].text, "spec.podCIDRs[3]: \"\""));

	put_meta(&b, "", "old", "", "");
	put_text(&spec, 1, "10.3.0.0/24");
	put_message(&b, 2, &spec);
	assert_int_equal(decode(OBJECT_NODE, &b, &o), 0);
	assert_int_equal(o.node.ranges_count, 1);
	assert_int_equal(o.node.addresses_count, 0);
	assert_false(o.node.is_unenrolled);
}

static void test_a_namespace(void **state)
{
	struct bytes b = { 0 }, meta = { 0 };
	struct object o;

	(void)state;
	put_text(&meta, 1, "quiet");
	put_entry(&meta, 11, "culvert.dev/mode", "disabled");
	put_message(&b, 1, &meta);
	assert_int_equal(decode(OBJECT_NAMESPACE, &b, &o), 0);
	assert_true(o.name_space.is_opted_out);
	/* An annotation is no label. */
	put_text(&meta, 1, "loud");
	put_entry(&meta, 12, "culvert.dev/mode", "disabled");
	put_message(&b, 1, &meta);
	assert_int_equal(decode(OBJECT_NAMESPACE, &b, &o), 0);
	assert_false(o.name_space.is_opted_out);
}

static void put_owner(struct bytes *meta, const char *version, const char *kind, const char *name, const char *uid)
{
	struct bytes owner = { 0 };

	put_text(&owner, 1, kind);
	put_text(&owner, 3, name);
	put_text(&owner, 4, uid);
	put_text(&owner, 5, version);
	put_message(meta, 13, &owner);
}

static void test_a_record(void **state)
{
	struct bytes b = { 0 }, meta = { 0 };
	struct object o;

	(void)state;
	put_text(&meta, 1, "node1");
	put_owner(&meta, "apps/v1", "Node", "node1", "foreign");
	put_owner(&meta, "v1", "Pod", "node1", "a pod");
	put_owner(&meta, "v1", "Node", "node1", "node-uid");
	put_entry(&meta, 12, "culvert.dev/port", "7117");
	put_entry(&meta, 12, "culvert.dev/settings", "ab12");
	put_message(&b, 1, &meta);
	assert_int_equal(decode(OBJECT_RECORD, &b, &o), 0);
	assert_string_equal(o.record.node_uid, "node-uid");
	assert_int_equal(o.record.tunnel_port, 7117);
	assert_string_equal(o.record.settings_hash, "ab12");
	assert_int_equal(o.faults_count, 0);

	put_text(&meta, 1, "node1");
	put_owner(&meta, "v1", "Node", "node2", "other");
	put_entry(&meta, 12, "culvert.dev/port", "65536");
	put_message(&b, 1, &meta);
	assert_int_equal(decode(OBJECT_RECORD, &b, &o), 0);
	assert_string_equal(o.record.node_uid, "");
	assert_int_equal(o.record.tunnel_port, 0);
	assert_string_equal(o.record.settings_hash, "");
	assert_int_equal(o.faults_count, 2);
	assert_non_null(strstr(o.faults[0].text, "metadata.ownerReferences[0].name: \"node2\""));
	assert_non_null(strstr(o.faults[1].text, "metadata.annotations[culvert.dev/port]: \"65536\""));
}

static void put_condition(struct bytes *status, const char *type, const char *is_so, const char *reason, const char *text)
{
	struct bytes c = { 0 };

	put_text(&c, 1, type);
	put_text(&c, 2, reason);
	put_text(&c, 3, text);
	put_text(&c, 6, is_so);
	put_message(status, 1, &c);
}

static void put_extra(struct bytes *spec, const char *key, const char *first, const char *second)
{
	struct bytes entry = { 0 }, value = { 0 };

	put_text(&value, 1, first);
	if (second)
		put_text(&value, 1, second);
	put_text(&entry, 1, key);
	put_message(&entry, 2, &value);
	put_message(spec, 6, &entry);
}

static void test_a_request(void **state)
{
	struct bytes b = { 0 }, spec = { 0 }, status = { 0 };
	struct object o;

	(void)state;
	put_meta(&b, "", "culvert:node1:abc", "u", "9");
	put_text(&spec, 1, "-----BEGIN CERTIFICATE REQUEST-----");
	put_text(&spec, 2, "system:serviceaccount:culvert:daemon");
	put_text(&spec, 3, "user-uid");
	put_text(&spec, 5, "server auth");
	put_text(&spec, 5, "client auth");
	put_extra(&spec, "authentication.kubernetes.io/pod-name", "culvert-x", NULL);
	put_extra(&spec, "two", "a", "b");
	put_extra(&spec, "twice", "a", NULL);
	put_extra(&spec, "twice", "a", NULL);
	put_text(&spec, 7, "culvert.dev/node");
	put_number(&spec, 8, 86400);
	put_message(&b, 2, &spec);
	put_condition(&status, "Approved", "True", "ByHand", "");
	put_text(&status, 2, "-----BEGIN CERTIFICATE-----");
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_REQUEST, &b, &o), 0);
	assert_string_equal(o.request.signer, "culvert.dev/node");
	assert_string_equal(o.request.username, "system:serviceaccount:culvert:daemon");
	assert_string_equal(o.request.user_uid, "user-uid");
	assert_int_equal(o.request.pem_bytes, strlen("-----BEGIN CERTIFICATE REQUEST-----"));
	assert_memory_equal(o.request.pem, "-----BEGIN CERTIFICATE REQUEST-----", o.request.pem_bytes);
	assert_int_equal(o.request.usages_count, 2);
	assert_string_equal(o.request.usages[1], "client auth");
	assert_int_equal(o.request.lifetime_s, 86400);
	assert_string_equal(message_request_extra(&o.request, "authentication.kubernetes.io/pod-name"), "culvert-x");
	/* Whoever relies on one value must not be handed one of several. */
	assert_null(message_request_extra(&o.request, "two"));
	assert_null(message_request_extra(&o.request, "twice"));
	assert_null(message_request_extra(&o.request, "none"));
	assert_true(o.request.is_approved);
	assert_false(o.request.is_denied || o.request.is_failed);
	assert_int_equal(o.request.certificate_bytes, strlen("-----BEGIN CERTIFICATE-----"));

	put_meta(&b, "", "r", "u", "9");
	put_condition(&status, "Approved", "False", "", "");
	put_condition(&status, "Denied", "", "NotRunning", "");
	put_condition(&status, "Failed", "True", "", "the pod is not on this node");
	put_message(&b, 3, &status);
	assert_int_equal(decode(OBJECT_REQUEST, &b, &o), 0);
	assert_false(o.request.is_approved);
	assert_true(o.request.is_denied && o.request.is_failed);
	assert_string_equal(o.request.verdict, "the pod is not on this node");
	assert_null(o.request.certificate);
}

static void put_port(struct bytes *subset, uint64_t number, const char *protocol)
{
	struct bytes port = { 0 };

	put_text(&port, 1, "https");
	put_number(&port, 2, number);
	put_text(&port, 3, protocol);
	put_message(subset, 3, &port);
}

static void put_place(struct bytes *subset, unsigned field, const char *ip)
{
	struct bytes at = { 0 };

	put_text(&at, 1, ip);
	put_message(subset, field, &at);
}

static void test_endpoints_are_each_address_with_each_port(void **state)
{
	struct bytes b = { 0 }, subset = { 0 };
	char text[ENDPOINT_TEXT_BYTES];
	struct object o;

	(void)state;
	put_meta(&b, "default", "kubernetes", "u", "7");
	put_place(&subset, 1, "172.30.0.1");
	put_place(&subset, 1, "fd30::1");
	put_place(&subset, 1, "nowhere");
	put_place(&subset, 2, "172.30.0.3"); /* not ready */
	put_port(&subset, 6443, "TCP");
	put_port(&subset, 53, "UDP");
	put_port(&subset, 70000, "TCP");
	put_message(&b, 2, &subset);
	put_place(&subset, 1, "172.30.0.2");
	put_port(&subset, 443, "");
	put_message(&b, 2, &subset);
	assert_int_equal(decode(OBJECT_ENDPOINTS, &b, &o), 0);
	assert_string_equal(o.meta.name, "kubernetes");
	assert_int_equal(o.endpoints.endpoints_count, 3);
	assert_string_equal(endpoint_print(&o.endpoints.endpoints[0], text), "172.30.0.1:6443");
	assert_string_equal(endpoint_print(&o.endpoints.endpoints[1], text), "[fd30::1]:6443");
	assert_string_equal(endpoint_print(&o.endpoints.endpoints[2], text), "172.30.0.2:443");
	assert_int_equal(o.faults_count, 3);
	assert_string_equal(o.faults[0].text, "subsets[0].ports[2].port: 70000 is no port; 1 to 65535 would be right");
	assert_string_equal(o.faults[2].text, "subsets[0].addresses[2].ip: \"nowhere\" is no IP address");

	put_meta(&b, "default", "kubernetes", "u", "8");
	assert_int_equal(decode(OBJECT_ENDPOINTS, &b, &o), 0);
	assert_int_equal(o.endpoints.endpoints_count, 0);

	put_meta(&b, "default", "kubernetes", "u", "9");
	for (int i = 0; i <= OBJECT_ENDPOINTS_MAX; i++) {
		(void)snprintf(text, sizeof(text), "10.0.0.%d", i);
		put_place(&subset, 1, text);
	}
	put_port(&subset, 443, "");
	put_message(&b, 2, &subset);
	assert_int_equal(decode(OBJECT_ENDPOINTS, &b, &o), 0);
	assert_int_equal(o.endpoints.endpoints_count, OBJECT_ENDPOINTS_MAX);
	assert_string_equal(o.faults[0].text, "subsets: more than 64 addresses and ports; the others are left out");
}

static void test_objects_without_a_usable_name_are_refused(void **state)
{
	struct bytes b = { 0 };
	struct object o = { .faults_count = 77 };

	(void)state;
	assert_int_equal(decode(OBJECT_POD, &b, &o), -EINVAL);
	assert_string_equal(message_error(m), "a Pod without metadata.name");
	put_meta(&b, "", "", "u", "1");
	assert_int_equal(decode(OBJECT_NODE, &b, &o), -EINVAL);
	assert_string_equal(message_error(m), "a Node without metadata.name");
	put_meta(&b, "", "A\nb", "u", "1");
	assert_int_equal(decode(OBJECT_NAMESPACE, &b, &o), -EINVAL);
	assert_non_null(strstr(message_error(m), "\"A\\x0ab\""));
	put_meta(&b, "", "..", "u", "1");
	assert_int_equal(decode(OBJECT_RECORD, &b, &o), -EINVAL);
	assert_int_equal(o.faults_count, 77);
}

static void test_the_name_of_an_object_that_can_not_be_taken_is_found(void **state)
{
	struct object_meta meta = { 0 };
	struct bytes b = { 0 }, inner = { 0 };
	struct object o;
	size_t meta_bytes;

	(void)state;
	put_meta(&b, "shop", "cart-1", "uid-1", "77");
	meta_bytes = b.len;
	put_text(&b, 2, "\xff\xff no spec");
	assert_int_equal(message_object(m, OBJECT_POD, b.data, b.len, &o), -EBADMSG);
	assert_int_equal(message_name(m, OBJECT_POD, b.data, b.len, &meta), 0);
	assert_string_equal(meta.name_space, "shop");
	assert_string_equal(meta.name, "cart-1");
	assert_string_equal(meta.uid, "uid-1");
	assert_string_equal(meta.version, "77");
	assert_non_null(strstr(message_error(m), "that are no Pod"));
	/* Cut behind the metadata, and within. */
	assert_int_equal(message_name(m, OBJECT_POD, b.data, meta_bytes + 3, &meta), 0);
	assert_int_equal(message_name(m, OBJECT_POD, b.data, meta_bytes - 1, &meta), -EBADMSG);
	assert_int_equal(message_name(m, OBJECT_POD, b.data, 0, &meta), -EBADMSG);
	bytes_clear(&b);
	put_meta(&b, "", "Not_A_Name", "u", "78");
	assert_int_equal(message_name(m, OBJECT_POD, b.data, b.len, &meta), -EINVAL);
	assert_string_equal(meta.version, "78");
	assert_int_equal(message_name(m, OBJECT_REQUEST, b.data, b.len, &meta), 0);
	/* Metadata that is wrong behind the name. */
	bytes_clear(&b);
	put_text(&inner, 1, "cart-2");
	put_raw(&inner, "\xff\xff\xff", 3);
	put_message(&b, 1, &inner);
	assert_int_equal(message_name(m, OBJECT_POD, b.data, b.len, &meta), 0);
	assert_string_equal(meta.name, "cart-2");
	assert_string_equal(meta.name_space, "");
	bytes_done(&b);
}

static void test_cut_objects_are_refused(void **state)
{
	struct bytes whole = { 0 };
	struct object o;
	size_t refused = 0;

	(void)state;
	put_pod(&whole, "web-0", "12", "node1", "10.1.2.3");
	for (size_t len = 0; len < whole.len; len++) {
		struct bytes b = { 0 };

		put_raw(&b, whole.data, len);
		/* Cut between two fields it is another, whole message. */
		if (decode(OBJECT_POD, &b, &o) < 0) {
			refused++;
			assert_true(message_error(m)[0] != '\0');
		}
	}
	assert_true(refused > whole.len - 4);
	put_raw(&whole, "\xff", 1);
	assert_int_equal(decode(OBJECT_POD, &whole, &o), -EBADMSG);
	assert_non_null(strstr(message_error(m), "bytes that are no Pod"));
}

static void test_an_object_that_eats_memory_is_refused(void **state)
{
	struct bytes b = { 0 }, status = { 0 };
	struct object o;

	(void)state;
	put_meta(&b, "", "hungry", "u", "1");
	/* 500,000 empty addresses of 2 bytes each, of which each would become some 40 */
	for (int i = 0; i < 500000; i++)
		put_text(&status, 12, "");
	put_message(&b, 3, &status);
	assert_true(b.len < SPLIT_OBJECT_MAX_BYTES);
	assert_int_equal(decode(OBJECT_POD, &b, &o), -ENOMEM);
	assert_non_null(strstr(message_error(m), "MiB"));
	put_pod(&b, "modest", "1", "n", "10.0.0.1");
	assert_int_equal(decode(OBJECT_POD, &b, &o), 0);
}

static void test_list_metadata_and_bookmarks(void **state)
{
	struct bytes b = { 0 }, meta = { 0 };
	struct message_list_meta list;
	const char *version;

	(void)state;
	put_text(&b, 2, "100");
	put_text(&b, 3, "token==");
	put_number(&b, 4, 17);
	assert_int_equal(message_list_meta(m, b.data, b.len, &list), 0);
	assert_string_equal(list.version, "100");
	assert_string_equal(list.continue_token, "token==");
	assert_int_equal(list.remaining, 17);
	bytes_clear(&b);
	assert_int_equal(message_list_meta(m, b.data, 0, &list), 0);
	assert_string_equal(list.version, "");
	assert_int_equal(message_list_meta(m, "\x12\x09x", 3, &list), -EBADMSG);

	put_text(&meta, 6, "4711");
	put_message(&b, 1, &meta);
	assert_int_equal(message_version(m, b.data, b.len, &version), 0);
	assert_string_equal(version, "4711");
	assert_int_equal(message_version(m, "", 0, &version), -EINVAL);
	bytes_done(&b);
}

static void test_a_status(void **state)
{
	struct bytes b = { 0 }, object = { 0 }, details = { 0 }, cause = { 0 };
	struct message_status s;

	(void)state;
	put_status(&object, 504, "Timeout", "Too large resource version: 9, current: 8");
	put_text(&cause, 1, "ResourceVersionTooLarge");
	put_message(&details, 4, &cause);
	put_number(&details, 5, 3);
	put_message(&object, 5, &details);
	put_envelope(&b, "v1", "Status", &object);
	assert_int_equal(message_answer_status(m, b.data, b.len, &s), 0);
	assert_int_equal(s.code, 504);
	assert_string_equal(s.reason, "Timeout");
	assert_string_equal(s.text, "Too large resource version: 9, current: 8");
	assert_string_equal(s.cause, "ResourceVersionTooLarge");
	assert_int_equal(s.retry_after_ms, 3000);
	bytes_clear(&b);
	put_envelope(&b, "v1", "Pod", &object);
	assert_int_equal(message_answer_status(m, b.data, b.len, &s), -EBADMSG);
	assert_string_equal(message_error(m), "the answer is a \"Pod\" where a Status was asked for");
	assert_int_equal(message_answer_status(m, "Unauthorized", 12, &s), -EBADMSG);
	bytes_done(&b);
}

static void test_answers_with_one_object(void **state)
{
	struct bytes b = { 0 }, object = { 0 };
	struct object_meta meta;
	struct object o;

	(void)state;
	put_pod(&object, "web-0", "12", "node1", "10.1.2.3");
	put_envelope(&b, "v1", "Pod", &object);
	assert_int_equal(message_answer_object(m, OBJECT_POD, b.data, b.len, &o), 0);
	assert_string_equal(o.pod.node, "node1");
	assert_int_equal(message_answer_object(m, OBJECT_NODE, b.data, b.len, &o), -EBADMSG);
	bytes_clear(&b);
	put_full_meta(&object, "culvert");
	put_text(&object, 2, "the spec of a DaemonSet");
	put_envelope(&b, "apps/v1", "DaemonSet", &object);
	assert_int_equal(message_answer_meta(m, b.data, b.len, &meta), 0);
	assert_string_equal(meta.name, "culvert");
	assert_true(meta.is_deleting);
	bytes_done(&b);
}

static void test_data_by_key(void **state)
{
	struct bytes b = { 0 }, object = { 0 }, entry = { 0 };
	const void *value;
	size_t len;

	(void)state;
	put_meta(&object, "culvert", "ca", "u", "1");
	put_entry(&object, 2, "ca.crt", "PEM");
	put_envelope(&b, "v1", "ConfigMap", &object);
	assert_int_equal(message_answer_data(m, b.data, b.len, "ca.crt", &value, &len), 0);
	assert_int_equal(len, 3);
	assert_string_equal(value, "PEM");
	assert_int_equal(message_answer_data(m, b.data, b.len, "tls.key", &value, &len), -ENOENT);
	assert_string_equal(message_error(m), "the ConfigMap has no key tls.key");

	bytes_clear(&b);
	put_meta(&object, "culvert", "ca", "u", "1");
	put_text(&entry, 1, "tls.key");
	put_bytes(&entry, 2, "a\0b", 3);
	put_message(&object, 2, &entry);
	put_text(&entry, 1, "empty");
	put_message(&object, 2, &entry);
	put_envelope(&b, "v1", "Secret", &object);
	assert_int_equal(message_answer_data(m, b.data, b.len, "tls.key", &value, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "a\0b", 4);
	assert_int_equal(message_answer_data(m, b.data, b.len, "empty", &value, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(message_answer_data(m, b.data, b.len, "none", &value, &len), -ENOENT);
	bytes_clear(&b);
	put_envelope(&b, "v1", "Pod", &object);
	assert_int_equal(message_answer_data(m, b.data, b.len, "x", &value, &len), -EBADMSG);
	bytes_done(&b);
}

/* What a real API server sent: the seeds of the fuzzer, each behind one byte of its own. */
static size_t read_seed(const char *name, uint8_t *dst, size_t size)
{
	char path[128];
	size_t len;
	FILE *f;

	(void)snprintf(path, sizeof(path), "../../fuzz/corpus/kube_object/%s", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fgetc(f) == EOF, 0);
	len = fread(dst, 1, size, f);
	assert_int_equal(fclose(f), 0);
	assert_in_range(len, 1, size - 1);
	return len;
}

static void test_the_bytes_of_a_real_server(void **state)
{
	static uint8_t b[8 << 10];
	struct message_status status;
	const void *value;
	struct object o;
	size_t len;

	(void)state;
	len = read_seed("pod", b, sizeof(b));
	assert_int_equal(message_answer_object(m, OBJECT_POD, b, len, &o), 0);
	assert_string_equal(o.meta.name, "p1");
	assert_string_equal(o.meta.name_space, "load");
	assert_string_equal(o.meta.uid, "6a7a10d8-9b58-4e3e-9f02-fa35a38c413a");
	assert_string_equal(o.meta.version, "216");
	assert_int_equal(o.meta.created_s, 1795560735);
	assert_string_equal(o.pod.node, "n1");
	assert_int_equal(o.pod.phase, OBJECT_RUNNING);
	assert_int_equal(o.pod.addresses_count, 2);
	assert_address(&o.pod.addresses[0], "10.9.1.2");
	assert_address(&o.pod.addresses[1], "fd09::2");
	assert_int_equal(o.faults_count, 0);
	len = read_seed("node", b, sizeof(b));
	assert_int_equal(message_answer_object(m, OBJECT_NODE, b, len, &o), 0);
	assert_int_equal(o.node.addresses_count, 1);
	assert_address(&o.node.addresses[0], "10.9.0.2");
	assert_int_equal(o.node.ranges_count, 1);
	len = read_seed("lease", b, sizeof(b));
	assert_int_equal(message_answer_object(m, OBJECT_RECORD, b, len, &o), 0);
	assert_int_equal(strlen(o.record.node_uid), 36);
	assert_int_equal(o.record.tunnel_port, 7117);
	assert_string_equal(o.record.settings_hash, "ab12");
	len = read_seed("request", b, sizeof(b));
	assert_int_equal(message_answer_object(m, OBJECT_REQUEST, b, len, &o), 0);
	assert_string_equal(o.request.signer, "culvert.dev/node");
	assert_string_equal(o.request.username, "admin");
	assert_int_equal(o.request.usages_count, 2);
	assert_true(o.request.is_denied && !o.request.is_approved);
	assert_string_equal(o.request.verdict, "not this one");
	assert_true(o.request.pem_bytes > 200 && memcmp(o.request.pem, "-----BEGIN CERTIFICATE REQUEST-----", 35) == 0);
	len = read_seed("configmap", b, sizeof(b));
	assert_int_equal(message_answer_data(m, b, len, "tls.key", &value, &len), 0);
	assert_string_equal(value, "value");
	len = read_seed("secret", b, sizeof(b));
	assert_int_equal(message_answer_data(m, b, len, "tls.key", &value, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "a\0b", 3);
	len = read_seed("status", b, sizeof(b));
	assert_int_equal(message_answer_status(m, b, len, &status), 0);
	assert_int_equal(status.code, 504);
	assert_string_equal(status.cause, "ResourceVersionTooLarge");
	assert_int_equal(status.retry_after_ms, 1000);
	assert_string_equal(status.text, "Timeout: Too large resource version: 99999999, current: 260");
}

static void test_the_arena_is_bounded_and_wiped(void **state)
{
	struct arena a = { 0 };
	char *secret;

	(void)state;
	assert_null(arena_take(&a, ARENA_MAX_BYTES + 1));
	assert_true(a.is_exhausted);
	assert_null(arena_take_array(&a, SIZE_MAX / 2, 4));
	arena_reset(&a);
	assert_false(a.is_exhausted);
	for (size_t taken = 0; taken + (1 << 20) <= ARENA_MAX_BYTES; taken += 1 << 20)
		assert_non_null(arena_take(&a, 1 << 20));
	assert_null(arena_take(&a, 1 << 20));
	assert_true(a.is_exhausted);
	arena_reset(&a);
	/* What is kept is one small block. */
	assert_true(a.taken_bytes <= 64 << 10);
	secret = arena_take(&a, 6);
	assert_non_null(secret);
	assert_int_equal((uintptr_t)secret % _Alignof(max_align_t), 0);
	memcpy(secret, "secret", 6);
	a.is_secret = true;
	arena_reset(&a);
	assert_memory_equal(secret, "\0\0\0\0\0\0", 6);
	assert_false(a.is_secret);
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pod),
		cmocka_unit_test(test_a_pod_of_which_little_is_known),
		cmocka_unit_test(test_faults_of_a_pod_name_field_and_value),
		cmocka_unit_test(test_more_faults_than_are_said),
		cmocka_unit_test(test_a_node),
		cmocka_unit_test(test_a_nodes_tunnel_addresses),
		cmocka_unit_test(test_a_namespace),
		cmocka_unit_test(test_a_record),
		cmocka_unit_test(test_a_request),
		cmocka_unit_test(test_endpoints_are_each_address_with_each_port),
		cmocka_unit_test(test_objects_without_a_usable_name_are_refused),
		cmocka_unit_test(test_the_name_of_an_object_that_can_not_be_taken_is_found),
		cmocka_unit_test(test_cut_objects_are_refused),
		cmocka_unit_test(test_an_object_that_eats_memory_is_refused),
		cmocka_unit_test(test_list_metadata_and_bookmarks),
		cmocka_unit_test(test_a_status),
		cmocka_unit_test(test_answers_with_one_object),
		cmocka_unit_test(test_data_by_key),
		cmocka_unit_test(test_the_bytes_of_a_real_server),
		cmocka_unit_test(test_the_arena_is_bounded_and_wiped),
	};

	return cmocka_run_group_tests_name("message", tests, set_up, tear_down);
}
