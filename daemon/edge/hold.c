/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/hold.h"

#include "edge/fault.h"
#include "edge/packet.h"
#include "net/sock.h"

#include "shared.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A pod can fill the ring as fast as it is read. What stays makes the next event, after all others had theirs; what finds no room is diverted by
 * the kernel alone. */
enum { SYNS_PER_EVENT = 64 };

static_assert((int)SYN_BYTES_MAX == (int)EDGE_SYN_BYTES, "a SYN of the kernel fits");

struct hold {
	struct loop *loop;
	struct loop_source source; /* of the ring */
	struct ring_buffer *ring;
	int ring_fd;
	uint32_t taken; /* in this event */
	/* The pair's two ends: what is sent by the host's arrives in the private namespace, and the other way round. */
	int host_fd, private_fd;
	struct packet_macs into, out;
	struct passing passing;
	void (*on_syn)(void *ctx, const struct syn *s);
	void *ctx;
};

/* --- sending --- */

void hold_release(struct hold *h, const struct syn *s)
{
	uint8_t frame[PACKET_BYTES_MAX];

	(void)send(h->host_fd, frame, packet_put_syn(frame, &h->into, s), 0);
}

/* By the device that it was about to leave by, past netfilter and the routes, which had their say. The egress program meets it once more, and lets
 * it pass. What finds no room, or loses on a device what is no part of a frame, is sent again by the client. */
static void send_out(struct hold *h, const struct syn *s)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)s->way.device };
	uint8_t frame[PACKET_BYTES_MAX];
	size_t len_bytes = packet_put_syn_out(frame, s);

	if (s->way.link_bytes >= ETH_HLEN)
		memcpy(&to.sll_protocol, frame + offsetof(struct ethhdr, h_proto), sizeof(to.sll_protocol));
	else
		to.sll_protocol = htons(addr_is_v4(&s->client.addr) ? ETH_P_IP : ETH_P_IPV6);
	(void)sendto(h->host_fd, frame, len_bytes, 0, (struct sockaddr *)&to, sizeof(to));
}

void hold_answer(struct hold *h, const struct syn *s, const struct syn_answer *answer)
{
	uint8_t frame[PACKET_BYTES_MAX];
	size_t len_bytes = 0;

	switch (answer->kind) {
	case SYN_SILENCE:
		return;
	case SYN_RESET:
		len_bytes = packet_put_reset(frame, &h->out, s);
		break;
	case SYN_UNREACHABLE:
		len_bytes = packet_put_unreachable(frame, &h->out, s, answer->code, &answer->from);
		break;
	case SYN_PASS:
		/* Where the maps can not be written it would be held once more, without an end. */
		if (!passing_put(&h->passing, s))
			send_out(h, s);
		return;
	}
	(void)send(h->private_fd, frame, len_bytes, 0);
}

/* --- from the ring --- */

/* With the tag that the kernel keeps beside the frame. */
static void take_way(struct syn_way *w, const struct edge_syn *e)
{
	enum { MACS_BYTES = 2 * PACKET_MAC_BYTES, TAG_BYTES = 4 };
	uint16_t tci_be = htons(e->vlan_tci);

	w->device = e->egress_ifindex;
	w->link_bytes = e->link_bytes;
	memcpy(w->link, e->link, e->link_bytes);
	if (!e->vlan_proto_be || e->link_bytes < MACS_BYTES)
		return;
	memmove(w->link + MACS_BYTES + TAG_BYTES, w->link + MACS_BYTES, (size_t)e->link_bytes - MACS_BYTES);
	memcpy(w->link + MACS_BYTES, &e->vlan_proto_be, sizeof(e->vlan_proto_be));
	memcpy(w->link + MACS_BYTES + 2, &tci_be, sizeof(tci_be));
	w->link_bytes += TAG_BYTES;
}

/* What it returns ends the reading of the ring where it is negative; the record in hand is taken all the same. */
static int on_record(void *ctx, void *data, size_t len_bytes)
{
	const struct edge_syn *e = data;
	struct hold *h = ctx;
	struct syn s = { 0 };
	int code = ++h->taken < SYNS_PER_EVENT ? 0 : -EAGAIN;

	if (len_bytes < sizeof(*e) || e->len_bytes > SYN_BYTES_MAX || e->link_bytes > sizeof(e->link))
		return code;
	memcpy(s.client.addr.bytes, e->source, sizeof(s.client.addr.bytes));
	memcpy(s.server.addr.bytes, e->dest, sizeof(s.server.addr.bytes));
	s.client.port = ntohs(e->source_port_be);
	s.server.port = ntohs(e->dest_port_be);
	s.seq = ntohl(e->seq_be);
	s.device = e->ingress_ifindex;
	s.may_pass = e->may_pass;
	take_way(&s.way, e);
	s.len_bytes = e->len_bytes;
	s.tcp_offset = e->tcp_offset;
	memcpy(s.bytes, e->packet, e->len_bytes);
	if (!packet_is_syn(&s))
		return code;
	if (s.may_pass && passing_has(&h->passing, &s))
		send_out(h, &s);
	else
		h->on_syn(h->ctx, &s);
	return code;
}

static void on_ring(struct loop_source *src, uint32_t events)
{
	struct hold *h = container_of(src, struct hold, source);

	(void)events;
	h->taken = 0;
	(void)ring_buffer__consume(h->ring);
}

static int start_ring(struct hold *h)
{
	h->ring_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "culvert_held", 0, 0, EDGE_HELD_BYTES, NULL);
	if (h->ring_fd < 0)
		return -errno;
	h->ring = ring_buffer__new(h->ring_fd, on_record, h, NULL);
	if (!h->ring)
		return -errno;
	h->source = (struct loop_source){ .fd = ring_buffer__epoll_fd(h->ring), .on_event = on_ring };
	return loop_add(h->loop, &h->source, EPOLLIN);
}

/* --- life --- */

/* A socket that sends frames by one device of the thread's namespace, and receives none. */
static int packet_socket(uint32_t ifindex)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		code = -errno;
		close(fd);
		return code;
	}
	return fd;
}

static int start_sockets(struct hold *h, const struct edge_netns *n)
{
	int code;

	h->private_fd = packet_socket(edge_netns_private_ifindex(n));
	if (h->private_fd < 0)
		return h->private_fd;
	code = sock_enter_netns(edge_netns_host_fd(n));
	if (code)
		return code;
	h->host_fd = packet_socket(edge_netns_host_ifindex(n));
	/* A worker outside its namespace would make pods' connections in the wrong one: nothing may go on. */
	if (sock_enter_netns(edge_netns_fd(n)))
		abort();
	return h->host_fd < 0 ? h->host_fd : 0;
}

int hold_create(struct loop *loop, const struct edge_netns *n, const struct passing *passing,
                void (*on_syn)(void *ctx, const struct syn *s), void *ctx, struct hold **ret, char error[EDGE_ERROR_BYTES])
{
	struct hold *h = calloc(1, sizeof(*h));
	int code;

	if (!h)
		return edge_fault(error, -ENOMEM, "no memory");
	h->loop = loop;
	h->passing = *passing;
	h->on_syn = on_syn;
	h->ctx = ctx;
	h->source.fd = h->ring_fd = h->host_fd = h->private_fd = -1;
	memcpy(h->into.source, edge_netns_host_mac(n), PACKET_MAC_BYTES);
	memcpy(h->into.dest, edge_netns_private_mac(n), PACKET_MAC_BYTES);
	memcpy(h->out.source, edge_netns_private_mac(n), PACKET_MAC_BYTES);
	memcpy(h->out.dest, edge_netns_host_mac(n), PACKET_MAC_BYTES);
	code = start_sockets(h, n);
	if (code) {
		(void)edge_fault(error, code, "connections can not be held: no packet socket%s: %s",
		                 code == -EPERM ? " (CAP_NET_RAW is needed, or capture.connect: optimistic)" : "", strerror(-code));
	} else {
		code = start_ring(h);
		if (code)
			(void)edge_fault(error, code, "connections can not be held: no ring: %s", strerror(-code));
	}
	if (code) {
		hold_destroy(h);
		return code;
	}
	*ret = h;
	return 0;
}

void hold_destroy(struct hold *h)
{
	if (!h)
		return;
	loop_remove(h->loop, &h->source);
	ring_buffer__free(h->ring);
	if (h->ring_fd >= 0)
		close(h->ring_fd);
	if (h->host_fd >= 0)
		close(h->host_fd);
	if (h->private_fd >= 0)
		close(h->private_fd);
	free(h);
}

int hold_ring_fd(const struct hold *h)
{
	return h->ring_fd;
}
