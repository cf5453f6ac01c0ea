/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* maps.bpf.h - every map of the edge and steer programs but the parser's own, with the reason for its size. The daemon pins all of them and hands those that
 * both objects name to the second one it loads. */
#ifndef CULVERT_MAPS_BPF_H
#define CULVERT_MAPS_BPF_H

#include "shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct edge_config);
} settings SEC(".maps");

/* Who is behind an address. 150,000 pods with an address of each family would not fit, but ranges of nodes do by far, and single
 * addresses of 130,000 dual-stack pods; memory is taken only as entries come. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, EDGE_NETS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net_key);
	__type(value, struct net_value);
} nets SEC(".maps");

/* Diverted flows, outside the sockets: after a crash or under SYN cookies no socket tells that a packet is ours. A flood of SYNs evicts
 * what is not used first; strict mode refuses what it does not know, so an eviction costs a connection and never leaks. About 14 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EDGE_FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
} flows SEC(".maps");

/* Flows between enrolled nodes that go in the clear, with the class that lets them: those from before us, the nodes' own, permissive
 * ones. Half as many as flows: they are the exception. About 7 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EDGE_PASSED_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
} passed SEC(".maps");

/* Permissive: SYNs that were dropped once to wait for a tunnel, where the daemon does not hold them. Each lives for about a second. And while flows from before us are learned, those
 * that began since towards addresses that nobody knew, with their class. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EDGE_WAITING_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
} waiting SEC(".maps");

/* Diverted flows whose other pod does not answer its own node; values: 1. No flow is ever pushed out by another: one that finds no room is
 * counted by the daemon and goes on as if its pod answered. An eighth of flows: a node with 110 pods has 150 connections for each of them.
 * Memory is taken only as entries come. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EDGE_SILENCED_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, __u32);
} silenced SEC(".maps");

/* The devices of the node's namespace: a veth a pod, and the kubelet's limit is far below. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EDGE_DEVICES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct device_value);
} devices SEC(".maps");

/* What holds between this node and each other one: a view has at most 5,000, and one that left keeps its place until its nets are out. 320 KB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EDGE_PEERS_MAX);
	__type(key, __u32);
	__type(value, struct peer_value);
} peers SEC(".maps");

/* Whose place is whose, for the next daemon. Memory is taken only as entries come. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EDGE_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct peer_name);
} peer_names SEC(".maps");

/* The workers' listeners. The kernel takes a socket out when it is closed, so an empty map means that the daemon is dead: no heartbeat. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, EDGE_WORKERS_MAX * 2);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, EDGE_EXCLUDE_NETS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net_key);
	__type(value, __u32);
} exclude_nets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EDGE_EXCLUDE_PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u16); /* network order */
	__type(value, __u32);
} exclude_ports SEC(".maps");

/* Lockdown: the one service of other nodes' own addresses that pods still reach. A cluster has three of them, and hardly ever more than nine. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EDGE_API_SERVERS_MAX);
	__type(key, struct api_server_key);
	__type(value, __u32);
} api_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EDGE_COUNTERS);
	__type(key, __u32);
	__type(value, struct edge_count);
} counters SEC(".maps");

/* One page on every architecture. An event that finds no room is lost without harm: the client's next SYN makes another. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EDGE_EVENTS_BYTES);
} events SEC(".maps");

/* SYNs on their way to the worker that takes the flow; the daemon puts each worker's ring in. 900 SYNs: a worker that is busy for
 * 18 ms while 50,000 come in a second; what finds no room is diverted at once. */
struct held_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EDGE_HELD_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, EDGE_WORKERS_MAX);
	__type(key, __u32);
	__array(values, struct held_ring);
} held SEC(".maps");

/* The devices that SYNs came from in the last moments; what is evicted begins to count anew. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EDGE_GIVERS_MAX);
	__type(key, __u32);
	__type(value, struct edge_giver);
} givers SEC(".maps");

#endif
