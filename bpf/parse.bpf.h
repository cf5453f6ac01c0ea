/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* parse.bpf.h - cursor parsers: Ethernet with up to two VLAN tags, IPv4, IPv6 with its extension headers, TCP, and one level of
 * encapsulation.
 * Every byte is read by bpf_skb_load_bytes, which checks the packet's bounds and reaches into its fragments. Nothing is written.
 *
 * What was found stands in a map and the parsers are global functions, so that the verifier walks each once and then knows nothing of what it
 * found. Kernels before 6.3 tell states apart by every number that they know: with the packet on the stack they walk all that comes after
 * anew for each way through the headers, and give up at a million instructions. */
#ifndef CULVERT_PARSE_BPF_H
#define CULVERT_PARSE_BPF_H

#include "ip.bpf.h"
#include "shared.h"

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

/* RFC 8200, 4.1 names at most seven, of which one twice. */
#define IPV6_EXTENSIONS_MAX 8

enum { VLAN_TAGS_MAX = 2 };

enum parse_result {
	PARSE_OK,             /* addresses and protocol; TCP and UDP also have their ports, TCP its flags and sequence number */
	PARSE_NOT_IP,         /* or cut before its addresses were complete */
	PARSE_UNCLASSIFIABLE, /* addresses are there, but what is carried can not be told */
};

struct packet {
	__u8 source[16]; /* IPv4 in its mapped form */
	__u8 dest[16];
	__u16 source_port_be;
	__u16 dest_port_be;
	__u32 l3_offset;
	__u32 l4_offset; /* behind the last IP header */
	__u32 tcp_seq_be;
	__u8 l4_proto;
	__u8 tcp_flags;
	__u8 is_v6;
	__u8 is_fragment;       /* not the first: no ports */
	__u8 is_first_fragment; /* more follow */
	__u8 vlan_tags;         /* in the data, without one that the device keeps beside it */
	__u8 pad[2];
};

/* Whose packet: the one that is judged, or what it carries. */
enum packet_place { PACKET_OUTER, PACKET_INNER, PACKET_PLACES };

/* Of this processor's; no two programs of ours run on one at the same time, since both hooks run with soft interrupts off. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PACKET_PLACES);
	__type(key, __u32);
	__type(value, struct packet);
} packets SEC(".maps");

static __always_inline struct packet *packet_at(__u32 place)
{
	return bpf_map_lookup_elem(&packets, &place);
}

static __always_inline int parse_l4(struct __sk_buff *skb, struct packet *p)
{
	__u8 head[14];

	if (p->l4_proto == L4_TCP) {
		/* The whole fixed header must be there, else the stacks that come later may read it in another way than we do. */
		if (bpf_skb_load_bytes(skb, p->l4_offset + 6, head, 14))
			return PARSE_UNCLASSIFIABLE;
		p->tcp_flags = head[7];
		if (bpf_skb_load_bytes(skb, p->l4_offset, head, 8))
			return PARSE_UNCLASSIFIABLE;
		__builtin_memcpy(&p->tcp_seq_be, head + 4, 4);
	} else if (p->l4_proto == L4_UDP) {
		/* Not ours to refuse: without ports it is no encapsulation either. */
		if (bpf_skb_load_bytes(skb, p->l4_offset, head, 8))
			return PARSE_OK;
	} else {
		return PARSE_OK;
	}
	__builtin_memcpy(&p->source_port_be, head, 2);
	__builtin_memcpy(&p->dest_port_be, head + 2, 2);
	return PARSE_OK;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
	__u8 ip[20];
	__u16 fragment;
	__u32 header_bytes;

	if (bpf_skb_load_bytes(skb, offset, ip, sizeof(ip)))
		return PARSE_NOT_IP;
	header_bytes = (ip[0] & 0x0f) * 4;
	if (ip[0] >> 4 != 4 || header_bytes < sizeof(ip))
		return PARSE_NOT_IP;
	addr_map_v4(p->source, ip + 12);
	addr_map_v4(p->dest, ip + 16);
	p->l4_proto = ip[9];
	p->l4_offset = offset + header_bytes;
	fragment = (__u16)(ip[6] << 8 | ip[7]);
	if (fragment & 0x1fff) {
		p->is_fragment = 1;
		return PARSE_OK;
	}
	p->is_first_fragment = (fragment & 0x2000) != 0;
	return parse_l4(skb, p);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
	__u8 ip[40];
	__u8 extension[8];
	__u8 next;
	int i;

	if (bpf_skb_load_bytes(skb, offset, ip, sizeof(ip)) || ip[0] >> 4 != 6)
		return PARSE_NOT_IP;
	__builtin_memcpy(p->source, ip + 8, 16);
	__builtin_memcpy(p->dest, ip + 24, 16);
	p->is_v6 = 1;
	next = ip[6];
	offset += sizeof(ip);

	for (i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		switch (next) {
		case L4_HOP_OPTIONS:
		case L4_ROUTING:
		case L4_DEST_OPTIONS:
		case L4_MOBILITY:
		case L4_HIP:
		case L4_SHIM6:
		case L4_FRAGMENT:
		case L4_AUTH:
			break;
		default:
			p->l4_proto = next;
			p->l4_offset = offset;
			return parse_l4(skb, p);
		}
		/* Each of them is at least 8 bytes long. */
		if (bpf_skb_load_bytes(skb, offset, extension, sizeof(extension)))
			return PARSE_UNCLASSIFIABLE;
		if (next == L4_FRAGMENT) {
			if ((extension[2] << 8 | extension[3]) & 0xfff8) {
				p->is_fragment = 1;
				p->l4_proto = extension[0];
				p->l4_offset = offset + 8;
				/* What is fragmented may begin with an extension header: then nobody can say. */
				return extension[0] == L4_TCP || extension[0] == L4_UDP || extension[0] == L4_ICMPV6 ? PARSE_OK
				                                                                                     : PARSE_UNCLASSIFIABLE;
			}
			p->is_first_fragment = extension[3] & 1;
			offset += 8;
		} else if (next == L4_AUTH) {
			offset += ((__u32)extension[1] + 2) * 4;
		} else {
			/* With segments left, the packet goes on to an address that is not in its header. */
			if (next == L4_ROUTING && extension[3])
				return PARSE_UNCLASSIFIABLE;
			offset += ((__u32)extension[1] + 1) * 8;
		}
		next = extension[0];
	}
	return PARSE_UNCLASSIFIABLE;
}

/* The IP packet at offset, into a place, with what the caller knows of its tags. */
__noinline int parse_network(struct __sk_buff *skb, __u32 offset, __u32 place, __u32 vlan_tags)
{
	struct packet *p = packet_at(place);
	__u8 first;

	if (!p)
		return PARSE_NOT_IP;
	__builtin_memset(p, 0, sizeof(*p));
	p->vlan_tags = (__u8)vlan_tags;
	if (bpf_skb_load_bytes(skb, offset, &first, 1))
		return PARSE_NOT_IP;
	p->l3_offset = offset;
	if (first >> 4 == 4)
		return parse_ipv4(skb, offset, p);
	if (first >> 4 == 6)
		return parse_ipv6(skb, offset, p);
	return PARSE_NOT_IP;
}

/* The Ethernet frame at offset, likewise. */
__noinline int parse_ethernet(struct __sk_buff *skb, __u32 offset, __u32 place)
{
	__u16 type_be;
	__u16 type;
	int i;

	offset += ETH_BYTES - 2;
	for (i = 0; i <= VLAN_TAGS_MAX; i++) {
		if (bpf_skb_load_bytes(skb, offset, &type_be, 2))
			return PARSE_NOT_IP;
		type = bpf_ntohs(type_be);
		if (type == ETH_TYPE_IPV4 || type == ETH_TYPE_IPV6)
			return parse_network(skb, offset + 2, place, (__u32)i);
		if (type != ETH_TYPE_VLAN && type != ETH_TYPE_QINQ && type != ETH_TYPE_QINQ1)
			return PARSE_NOT_IP;
		offset += 4;
	}
	return PARSE_NOT_IP;
}

/* What outer carries, one level down, into its place. PARSE_NOT_IP where it is no encapsulation that we know. */
static __always_inline int parse_inner(struct __sk_buff *skb, const struct packet *outer)
{
	__u32 offset = outer->l4_offset;
	__u8 head[8];
	__u16 type;

	if (outer->is_fragment)
		return PARSE_NOT_IP;
	if (outer->l4_proto == L4_IPIP || outer->l4_proto == L4_IPV6)
		return parse_network(skb, offset, PACKET_INNER, 0);
	if (outer->l4_proto == L4_UDP) {
		__u16 port = bpf_ntohs(outer->dest_port_be);

		if (port != 4789 && port != 8472 && port != 6081)
			return PARSE_NOT_IP;
		offset += 8;
		if (bpf_skb_load_bytes(skb, offset, head, 8))
			return PARSE_NOT_IP;
		if (port != 6081)
			return parse_ethernet(skb, offset + 8, PACKET_INNER);
		offset += 8 + (head[0] & 0x3f) * 4;
	} else if (outer->l4_proto == L4_GRE) {
		if (bpf_skb_load_bytes(skb, offset, head, 4) || head[1] & 7)
			return PARSE_NOT_IP;
		offset += 4;
		if (head[0] & 0x80)
			offset += 4;
		if (head[0] & 0x20)
			offset += 4;
		if (head[0] & 0x10)
			offset += 4;
	} else {
		return PARSE_NOT_IP;
	}
	type = (__u16)(head[2] << 8 | head[3]);
	if (type == ETH_TYPE_TEB)
		return parse_ethernet(skb, offset, PACKET_INNER);
	if (type == ETH_TYPE_IPV4 || type == ETH_TYPE_IPV6)
		return parse_network(skb, offset, PACKET_INNER, 0);
	return PARSE_NOT_IP;
}

/* The TCP packet of ours that an ICMP error quotes, seen from the side that the error goes to: its destination is the local side. True
 * where there is one. */
static __always_inline bool parse_icmp_error(struct __sk_buff *skb, const struct packet *p, struct flow_key *ret)
{
	__u32 offset = p->l4_offset;
	__u8 ip[40];
	__u8 type;

	if (p->is_fragment || bpf_skb_load_bytes(skb, offset, &type, 1))
		return false;
	offset += 8;
	if (p->l4_proto == L4_ICMP && !p->is_v6) {
		if (type != 3 && type != 11 && type != 12)
			return false;
		if (bpf_skb_load_bytes(skb, offset, ip, 20) || ip[0] >> 4 != 4 || ip[9] != L4_TCP || ((ip[6] & 0x1f) | ip[7]))
			return false;
		addr_map_v4(ret->remote, ip + 12);
		addr_map_v4(ret->local, ip + 16);
		offset += (ip[0] & 0x0f) * 4;
	} else if (p->l4_proto == L4_ICMPV6 && p->is_v6) {
		if (type < 1 || type > 4)
			return false;
		if (bpf_skb_load_bytes(skb, offset, ip, 40) || ip[0] >> 4 != 6 || ip[6] != L4_TCP)
			return false;
		__builtin_memcpy(ret->remote, ip + 8, 16);
		__builtin_memcpy(ret->local, ip + 24, 16);
		offset += 40;
	} else {
		return false;
	}
	return !bpf_skb_load_bytes(skb, offset, &ret->remote_port_be, 2) && !bpf_skb_load_bytes(skb, offset + 2, &ret->local_port_be, 2);
}

#endif
