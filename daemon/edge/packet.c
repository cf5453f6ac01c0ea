/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
	IPV4_BYTES = 20,
	IPV6_BYTES = 40,
	TCP_BYTES = 20,
	ICMP_BYTES = 8,
	TTL = 64, /* the answer's: as a pod's own */
};

static_assert(ETH_HLEN + IPV6_BYTES + ICMP_BYTES + SYN_BYTES_MAX == PACKET_BYTES_MAX, "the largest frame");
static_assert((int)SYN_LINK_BYTES_MAX + (int)SYN_BYTES_MAX <= (int)PACKET_BYTES_MAX, "a SYN with its tags is no larger");

static bool is_v6(const struct syn *s)
{
	return s->bytes[0] >> 4 == 6;
}

/* --- checksums, RFC 1071 --- */

static uint32_t sum_bytes(uint32_t sum, const uint8_t *bytes, size_t len_bytes)
{
	for (size_t i = 0; i + 1 < len_bytes; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (len_bytes & 1)
		sum += (uint32_t)bytes[len_bytes - 1] << 8;
	return sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put_u16(uint8_t *dst, uint16_t value)
{
	dst[0] = (uint8_t)(value >> 8);
	dst[1] = (uint8_t)value;
}

static const uint8_t *addr_bytes(const struct addr *a, bool is_wide)
{
	return is_wide ? a->bytes : a->bytes + 12;
}

/* With the pseudo-header of RFC 9293, 3.1 or RFC 8200, 8.1. The checksum's own field is zero. */
static uint16_t sum_upper(const struct addr *source, const struct addr *dest, bool is_wide, uint8_t protocol, const uint8_t *bytes,
                          size_t len_bytes)
{
	size_t addr_len = is_wide ? 16 : 4;
	uint32_t sum = protocol + (uint32_t)len_bytes;

	sum = sum_bytes(sum, addr_bytes(source, is_wide), addr_len);
	sum = sum_bytes(sum, addr_bytes(dest, is_wide), addr_len);
	return sum_fold(sum_bytes(sum, bytes, len_bytes));
}

/* --- parts of frames --- */

static uint8_t *put_ethernet(uint8_t *dst, const struct packet_macs *macs, bool is_wide)
{
	memcpy(dst, macs->dest, PACKET_MAC_BYTES);
	memcpy(dst + PACKET_MAC_BYTES, macs->source, PACKET_MAC_BYTES);
	put_u16(dst + 2 * PACKET_MAC_BYTES, is_wide ? ETH_P_IPV6 : ETH_P_IP);
	return dst + ETH_HLEN;
}

static void finish_ipv4(uint8_t *ip, size_t total_bytes)
{
	size_t header_bytes = (size_t)(ip[0] & 0x0f) * 4;

	put_u16(ip + offsetof(struct iphdr, tot_len), (uint16_t)total_bytes);
	put_u16(ip + offsetof(struct iphdr, check), 0);
	put_u16(ip + offsetof(struct iphdr, check), sum_fold(sum_bytes(0, ip, header_bytes)));
}

/* To the client. Returns where the payload begins. */
static uint8_t *put_answer_ip(uint8_t *dst, const struct syn *s, const struct addr *from, uint8_t protocol, size_t payload_bytes)
{
	if (is_v6(s)) {
		struct ip6_hdr ip = { 0 };

		ip.ip6_flow = htonl(6u << 28);
		ip.ip6_plen = htons((uint16_t)payload_bytes);
		ip.ip6_nxt = protocol;
		ip.ip6_hlim = TTL;
		memcpy(&ip.ip6_src, from->bytes, 16);
		memcpy(&ip.ip6_dst, s->client.addr.bytes, 16);
		memcpy(dst, &ip, sizeof(ip));
		return dst + IPV6_BYTES;
	}
	struct iphdr ip = { .version = 4, .ihl = IPV4_BYTES / 4, .frag_off = htons(IP_DF), .ttl = TTL, .protocol = protocol };

	memcpy(&ip.saddr, from->bytes + 12, 4);
	memcpy(&ip.daddr, s->client.addr.bytes + 12, 4);
	memcpy(dst, &ip, sizeof(ip));
	finish_ipv4(dst, IPV4_BYTES + payload_bytes);
	return dst + IPV4_BYTES;
}

/* --- what is offered --- */

bool packet_is_syn(const struct syn *s)
{
	size_t ip_bytes = is_v6(s) ? IPV6_BYTES : (size_t)(s->bytes[0] & 0x0f) * 4;
	bool is_wide = !addr_is_v4(&s->client.addr);

	if (s->len_bytes > SYN_BYTES_MAX || s->way.link_bytes > SYN_LINK_BYTES_MAX || (s->bytes[0] >> 4 != 4 && !is_v6(s)))
		return false;
	if (is_v6(s) != is_wide || addr_is_v4(&s->server.addr) == is_wide)
		return false;
	/* Nobody's address: no answer would find its way. */
	if (addr_equal(&s->client.addr, &(struct addr){ 0 }))
		return false;
	if (ip_bytes < IPV4_BYTES || (is_v6(s) ? s->tcp_offset < ip_bytes : s->tcp_offset != ip_bytes))
		return false;
	if (s->tcp_offset + TCP_BYTES > s->len_bytes)
		return false;
	return (size_t)s->tcp_offset + (size_t)(s->bytes[s->tcp_offset + 12] >> 4) * 4 == s->len_bytes &&
	       s->len_bytes - s->tcp_offset >= TCP_BYTES;
}

static void put_syn_ip(uint8_t *ip, const struct syn *s)
{
	uint8_t *tcp = ip + s->tcp_offset;
	size_t tcp_bytes = (size_t)s->len_bytes - s->tcp_offset;

	memcpy(ip, s->bytes, s->len_bytes);
	if (is_v6(s))
		put_u16(ip + offsetof(struct ip6_hdr, ip6_plen), (uint16_t)(s->len_bytes - IPV6_BYTES));
	else
		finish_ipv4(ip, s->len_bytes);
	put_u16(tcp + offsetof(struct tcphdr, check), 0);
	put_u16(tcp + offsetof(struct tcphdr, check), sum_upper(&s->client.addr, &s->server.addr, is_v6(s), IPPROTO_TCP, tcp, tcp_bytes));
}

size_t packet_put_syn(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s)
{
	put_syn_ip(put_ethernet(dst, macs, is_v6(s)), s);
	return ETH_HLEN + (size_t)s->len_bytes;
}

size_t packet_put_syn_out(uint8_t dst[PACKET_BYTES_MAX], const struct syn *s)
{
	memcpy(dst, s->way.link, s->way.link_bytes);
	put_syn_ip(dst + s->way.link_bytes, s);
	return (size_t)s->way.link_bytes + s->len_bytes;
}

size_t packet_put_reset(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s)
{
	uint8_t *tcp = put_answer_ip(put_ethernet(dst, macs, is_v6(s)), s, &s->server.addr, IPPROTO_TCP, TCP_BYTES);
	struct tcphdr h = { .source = htons(s->server.port),
		            .dest = htons(s->client.port),
		            .ack_seq = htonl(s->seq + 1),
		            .doff = TCP_BYTES / 4,
		            .rst = 1,
		            .ack = 1 };

	memcpy(tcp, &h, sizeof(h));
	put_u16(tcp + offsetof(struct tcphdr, check), sum_upper(&s->server.addr, &s->client.addr, is_v6(s), IPPROTO_TCP, tcp, TCP_BYTES));
	return (size_t)(tcp + TCP_BYTES - dst);
}

size_t packet_put_unreachable(uint8_t dst[PACKET_BYTES_MAX], const struct packet_macs *macs, const struct syn *s, uint8_t code,
                              const struct addr *from)
{
	bool is_wide = is_v6(s);
	size_t icmp_bytes = ICMP_BYTES + (size_t)s->len_bytes;
	uint8_t *icmp = put_answer_ip(put_ethernet(dst, macs, is_wide), s, from, is_wide ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp_bytes);
	uint8_t frame[PACKET_BYTES_MAX];

	memset(icmp, 0, ICMP_BYTES);
	icmp[0] = is_wide ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
	icmp[1] = code;
	/* What is quoted has its own checksums right: netfilter looks at them. */
	(void)packet_put_syn(frame, macs, s);
	memcpy(icmp + ICMP_BYTES, frame + ETH_HLEN, s->len_bytes);
	if (is_wide)
		put_u16(icmp + 2, sum_upper(from, &s->client.addr, true, IPPROTO_ICMPV6, icmp, icmp_bytes));
	else
		put_u16(icmp + 2, sum_fold(sum_bytes(0, icmp, icmp_bytes)));
	return (size_t)(icmp + icmp_bytes - dst);
}
