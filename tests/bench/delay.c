/* SPDX-License-Identifier: GPL-3.0-or-later */
/* delay.c - a wire that takes its time: what arrives by one device leaves by the other MICROSECONDS later, and the other way round.
 *   bench_delay DEVICE DEVICE MICROSECONDS    says "listening" when it begins, and goes on until it is killed
 * For kernels without netem. Packets are taken and sent as they are, large segments and checksums that are still to be made too, so that it costs a copy in and
 * a copy out; that CPU is the machine's, and what is measured on such a wire lacks it. */
#include "measure.h"
#include "talk.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/prctl.h>

enum {
	PACKET_MAX_BYTES = (int)sizeof(struct virtio_net_hdr) + ETHER_HDR_LEN + 65535,
	QUEUE_BYTES = 64 << 20, /* far more than fits on the wire in a few milliseconds; what finds no place stays in the kernel's queue */
	SOCKET_BYTES = 32 << 20,
	DELAY_MAX_US = 500000,
	AT_ONCE = 64, /* packets of one direction before the other has its turn */
};

/* In the queue each packet follows its head. */
struct head {
	double due_us;
	size_t len; /* 0: the next one is at the queue's beginning */
};

struct direction {
	int from, to;
	unsigned char *queue;
	size_t first, end;
	bool is_wrapped; /* what is queued goes over the queue's end: end <= first */
};

static int device_opened(const char *name)
{
	const int on = 1, bytes = SOCKET_BYTES;
	struct sockaddr_ll here = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);

	if (fd < 0 || here.sll_ifindex == 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		fail(name);
	return fd;
}

static struct head *head_at(const struct direction *d, size_t at)
{
	return (struct head *)(void *)(d->queue + at);
}

static size_t space_of(size_t len)
{
	return sizeof(struct head) + ((len + sizeof(struct head) - 1) & ~(sizeof(struct head) - 1));
}

static bool is_empty(const struct direction *d)
{
	return !d->is_wrapped && d->first == d->end;
}

/* Makes room for a packet of any size. */
static bool has_room(struct direction *d)
{
	const size_t most = space_of(PACKET_MAX_BYTES) + sizeof(struct head);

	if (d->is_wrapped)
		return d->first - d->end > most;
	if (QUEUE_BYTES - d->end > most)
		return true;
	if (d->first <= most)
		return false;
	head_at(d, d->end)->len = 0;
	d->end = 0;
	d->is_wrapped = true;
	return true;
}

static void take(struct direction *d, double delay_us)
{
	for (int i = 0; i < AT_ONCE && has_room(d); i++) {
		struct head *head = head_at(d, d->end);
		ssize_t n = recv(d->from, head + 1, PACKET_MAX_BYTES, 0);

		if (n < 0 && (errno == EAGAIN || errno == ENETDOWN))
			return;
		if (n <= (ssize_t)sizeof(struct virtio_net_hdr))
			fail("recv");
		*head = (struct head){ .due_us = wall_us() + delay_us, .len = (size_t)n };
		d->end += space_of((size_t)n);
	}
}

static const struct head *next_packet(struct direction *d)
{
	if (is_empty(d))
		return NULL;
	if (d->is_wrapped && head_at(d, d->first)->len == 0) {
		d->first = 0;
		d->is_wrapped = false;
	}
	return is_empty(d) ? NULL : head_at(d, d->first);
}

/* Sends what is due. When the next one is due, or 0 where nothing waits. */
static double give(struct direction *d)
{
	const struct head *head;

	while ((head = next_packet(d)) && head->due_us <= wall_us()) {
		/* What the device does not take is lost, as on a wire. */
		(void)!send(d->to, head + 1, head->len, 0);
		d->first += space_of(head->len);
	}
	return head ? head->due_us : 0;
}

int main(int argc, char **argv)
{
	double delay_us = argc == 4 ? strtod(argv[3], NULL) : 0;
	struct direction ways[2];
	struct pollfd polled[2];
	int one, two;

	if (delay_us <= 0 || delay_us > DELAY_MAX_US) {
		fprintf(stderr, "usage: bench_delay DEVICE DEVICE MICROSECONDS (1 to %d)\n", DELAY_MAX_US);
		return 2;
	}
	/* Else the kernel may be 50 us late. */
	if (prctl(PR_SET_TIMERSLACK, 1) < 0)
		fail("PR_SET_TIMERSLACK");
	one = device_opened(argv[1]);
	two = device_opened(argv[2]);
	ways[0] = (struct direction){ .from = one, .to = two, .queue = malloc(QUEUE_BYTES) };
	ways[1] = (struct direction){ .from = two, .to = one, .queue = malloc(QUEUE_BYTES) };
	if (!ways[0].queue || !ways[1].queue)
		fail("queue");
	printf("listening\n");
	(void)fflush(stdout);
	for (;;) {
		double due_us = 0;

		for (int i = 0; i < 2; i++) {
			double next_us;

			take(&ways[i], delay_us);
			next_us = give(&ways[i]);
			if (next_us > 0 && (due_us <= 0 || next_us < due_us))
				due_us = next_us;
			polled[i] = (struct pollfd){ .fd = ways[i].from, .events = has_room(&ways[i]) ? POLLIN : 0 };
		}
		if (due_us > 0) {
			double left_us = due_us - wall_us();
			struct timespec left = { .tv_nsec = left_us > 0 ? (long)(left_us * 1e3) : 0 };

			(void)ppoll(polled, 2, &left, NULL);
		} else {
			(void)ppoll(polled, 2, NULL, NULL);
		}
	}
}
