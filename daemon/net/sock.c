/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Newer than the C library's headers that we build with. */
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* Linux 6.15 */
#endif

/* One or two are ordinary loss. */
enum { UNANSWERED_RETRANSMITS = 3 };

enum {
	LONG_RTT_US = 5000,           /* another place, not another rack */
	LONG_BUFFER_BYTES = 64 << 20, /* as the kernel counts, with what it adds to each packet */
	LONG_UNSENT_BYTES = 1 << 20
};

/* The kernel's is longer than the C library's. */
struct long_tcp_info {
	struct tcp_info base;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	uint32_t segs_out, segs_in, notsent_bytes, min_rtt_us; /* the last one UINT32_MAX: not measured yet */
};
_Static_assert(offsetof(struct long_tcp_info, min_rtt_us) == 148, "as in linux/tcp.h");

/* The smallest that the kernel takes: after a cut of the wire a tunnel is back within about this time. */
enum { TUNNEL_RTO_MAX_MS = 1000, KERNEL_RTO_MAX_MS = 120000 };

enum { KEEP_ALIVE_S = 30 };

static const char *congestion_control = "reno"; /* always in the kernel */
static pthread_once_t congestion_control_once = PTHREAD_ONCE_INIT;

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len) {
		if ((p == text || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\n' || p[len] == '\0'))
			return true;
	}
	return false;
}

static void congestion_control_find(void)
{
	char text[256];
	ssize_t len;
	int fd = open("/proc/sys/net/ipv4/tcp_available_congestion_control", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (len <= 0)
		return;
	text[len] = '\0';
	if (has_word(text, "cubic"))
		congestion_control = "cubic";
}

const char *sock_congestion_control(void)
{
	(void)pthread_once(&congestion_control_once, congestion_control_find);
	return congestion_control;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* What every socket of ours has. A congestion control that this namespace does not allow leaves the host's: slower, never wrong. */
static int socket_create(int family)
{
	const char *name = sock_congestion_control();
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	int rc;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
	rc = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* Urgent data stays in its place in the stream, where a read stops before it and can carry it; else the kernel would take the byte out. */
static int set_urgent_inline(int fd)
{
	return set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

static int set_transparent(int fd, int family)
{
	return family == AF_INET ? set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1) : set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
}

static int set_reset_on_close(int fd, bool on)
{
	struct linger linger = { .l_onoff = on, .l_linger = 0 };

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0 ? 0 : -errno;
}

static int bind_to(int fd, const struct endpoint *e)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(e, &sa);

	return bind(fd, (struct sockaddr *)&sa, len) == 0 ? 0 : -errno;
}

static int endpoint_family(const struct endpoint *e)
{
	return addr_is_v4(&e->addr) ? AF_INET : AF_INET6;
}

int sock_enter_netns(int ns_fd)
{
	return setns(ns_fd, CLONE_NEWNET) == 0 ? 0 : -errno;
}

int sock_listen_transparent(int family, int backlog)
{
	struct endpoint loopback = { .port = 0 };
	int fd, rc;

	if (family == AF_INET)
		loopback.addr = addr_from_v4_be(htonl(INADDR_LOOPBACK));
	else
		loopback.addr.bytes[15] = 1;
	fd = socket_create(family);
	if (fd < 0)
		return fd;
	rc = family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) : 0;
	if (rc == 0)
		rc = set_transparent(fd, family);
	if (rc == 0)
		rc = set_urgent_inline(fd);
	if (rc == 0)
		rc = set_reset_on_close(fd, true);
	if (rc == 0)
		rc = bind_to(fd, &loopback);
	if (rc == 0 && listen(fd, backlog) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int sock_listen(const struct endpoint *at, int backlog)
{
	int family = endpoint_family(at), fd = socket_create(family), rc;

	if (fd < 0)
		return fd;
	rc = family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
	/* A restarted daemon meets its old connections in TIME_WAIT. */
	if (rc == 0)
		rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0)
		rc = bind_to(fd, at);
	if (rc == 0 && listen(fd, backlog) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int sock_listen_tunnel(uint16_t port, int backlog)
{
	int fd = sock_listen(&(struct endpoint){ .port = port }, backlog);

	/* Without IPv6 in the kernel, or with it switched off by sysctl. */
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = sock_listen(&(struct endpoint){ .addr = addr_from_v4_be(htonl(INADDR_ANY)), .port = port }, backlog);
	return fd;
}

static int connect_to(int fd, const struct endpoint *dst, bool *ret_pending)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(dst, &sa);
	int rc = connect(fd, (struct sockaddr *)&sa, len) == 0 ? 0 : -errno;

	/* EINTR on a non-blocking socket: it goes on by itself, as with EINPROGRESS. */
	if (rc < 0 && rc != -EINPROGRESS && rc != -EINTR)
		return rc;
	*ret_pending = rc < 0;
	return 0;
}

int sock_connect(const struct endpoint *source, const struct endpoint *dst, bool *ret_pending)
{
	int family = endpoint_family(dst);
	int fd, rc = 0;

	if (source && endpoint_family(source) != family)
		return -EINVAL;
	fd = socket_create(family);
	if (fd < 0)
		return fd;
	if (source) {
		/* A port that the kernel picks is picked at connect, by the whole four-tuple. */
		if (source->port == 0)
			(void)set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		rc = bind_to(fd, source);
	}
	if (rc == 0)
		rc = connect_to(fd, dst, ret_pending);
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* ICMP errors are kept with all that they say. On a socket that has connected they would become errors of the socket, which they are to nobody
 * who did not ask. */
static int set_icmp_queue(int fd, int family, bool is_on)
{
	return family == AF_INET ? set_int(fd, IPPROTO_IP, IP_RECVERR, is_on) : set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, is_on);
}

/* The kernel names a peer from the moment of the SYN-ACK to that of a reset. */
static bool is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

int sock_connect_transparent(const struct endpoint *source, const struct endpoint *dst, bool is_ack_late, bool *ret_pending)
{
	int family = endpoint_family(dst);
	int fd, rc;

	if (endpoint_family(source) != family)
		return -EINVAL;
	fd = socket_create(family);
	if (fd < 0)
		return fd;
	rc = set_transparent(fd, family);
	if (rc == 0)
		rc = set_urgent_inline(fd);
	/* One client port goes to several pods of this node at once. */
	if (rc == 0)
		rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0)
		rc = set_reset_on_close(fd, true);
	if (rc == 0)
		rc = set_icmp_queue(fd, family, true);
	/* What makes a listener wait for data makes who connects keep back the ACK of the SYN-ACK, as the kernel's delayed ACK. */
	if (rc == 0 && is_ack_late)
		rc = set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
	if (rc == 0)
		rc = bind_to(fd, source);
	if (rc == 0)
		rc = connect_to(fd, dst, ret_pending);
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	/* A pod of this node mostly answers while connect() still runs. */
	*ret_pending = *ret_pending && !is_connected(fd);
	return fd;
}

bool sock_take_icmp(int fd, uint8_t *ret_type, uint8_t *ret_code, struct addr *ret_from)
{
	union {
		struct cmsghdr head; /* for its alignment */
		uint8_t bytes[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
	} control;
	struct msghdr m = { .msg_control = &control, .msg_controllen = sizeof(control) };
	struct endpoint from;

	if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		const struct sock_extended_err *e = (const struct sock_extended_err *)(void *)CMSG_DATA(c);
		const struct sockaddr *offender = SO_EE_OFFENDER(e);

		if (c->cmsg_len < CMSG_LEN(sizeof(*e) + sizeof(struct sockaddr_in)))
			continue;
		if (e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6)
			continue;
		if (endpoint_from_sockaddr(offender, (socklen_t)(c->cmsg_len - CMSG_LEN(sizeof(*e))), &from) < 0)
			continue;
		*ret_type = e->ee_type;
		*ret_code = e->ee_code;
		*ret_from = from.addr;
		return true;
	}
	return false;
}

void sock_connected_transparent(int fd, const struct endpoint *dst)
{
	(void)set_icmp_queue(fd, endpoint_family(dst), false);
}

void sock_send_ack(int fd)
{
	(void)set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

/* Errors that accept(2) hands on from the connection itself: that one is gone, the next may be there. */
static bool is_of_connection(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

int sock_accept(int listen_fd, struct endpoint *ret_peer, struct endpoint *ret_local)
{
	struct sockaddr_storage peer_sa, local_sa;
	struct endpoint peer, local;
	socklen_t peer_len, local_len = sizeof(local_sa);
	int fd, rc;

	do {
		peer_len = sizeof(peer_sa);
		fd = accept4(listen_fd, (struct sockaddr *)&peer_sa, &peer_len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && is_of_connection(errno));
	if (fd < 0)
		return -errno;

	rc = endpoint_from_sockaddr((struct sockaddr *)&peer_sa, peer_len, &peer);
	if (rc == 0 && ret_local) {
		if (getsockname(fd, (struct sockaddr *)&local_sa, &local_len) < 0)
			rc = -errno;
		else
			rc = endpoint_from_sockaddr((struct sockaddr *)&local_sa, local_len, &local);
	}
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	if (ret_peer)
		*ret_peer = peer;
	if (ret_local)
		*ret_local = local;
	return fd;
}

int sock_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

void sock_set_reset_on_close(int fd, bool on)
{
	(void)set_reset_on_close(fd, on);
}

int sock_unacked_bytes(int fd)
{
	int bytes;

	return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -errno;
}

bool sock_is_at_mark(int fd)
{
	int is_there;

	return ioctl(fd, SIOCATMARK, &is_there) == 0 && is_there;
}

void sock_tune_tunnel(int fd, uint32_t user_timeout_ms)
{
	(void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	(void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
	(void)set_int(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, TUNNEL_RTO_MAX_MS);
}

void sock_keep_alive(int fd, uint32_t user_timeout_ms)
{
	user_timeout_ms += KEEP_ALIVE_S * 1000;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
	(void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_S);
	(void)set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_S);
	(void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

/* What an older kernel does not tell is 0. */
static int get_info(int fd, struct long_tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0 ? 0 : -errno;
}

bool sock_tune_long_tunnel(int fd)
{
	struct long_tcp_info info;

	if (get_info(fd, &info) < 0 || info.min_rtt_us < LONG_RTT_US || info.min_rtt_us == UINT32_MAX)
		return false;
	(void)set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, LONG_BUFFER_BYTES / 2); /* the kernel doubles it */
	(void)set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, LONG_BUFFER_BYTES / 2);
	(void)set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LONG_UNSENT_BYTES);
	return true;
}

bool sock_is_unanswered(int fd)
{
	struct long_tcp_info info;

	return get_info(fd, &info) == 0 && info.base.tcpi_retransmits >= UNANSWERED_RETRANSMITS;
}

int sock_answers(int fd, struct sock_answers *ret)
{
	struct long_tcp_info info;
	int rc = get_info(fd, &info);

	if (rc < 0)
		return rc;
	*ret = (struct sock_answers){
		.tries = info.base.tcpi_retransmits > info.base.tcpi_probes ? info.base.tcpi_retransmits : info.base.tcpi_probes,
		.quiet_ms = info.base.tcpi_last_ack_recv,
	};
	return 0;
}

void sock_probe(int fd)
{
	(void)set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void sock_set_patient(int fd, bool is_patient)
{
	/* With a TCP_USER_TIMEOUT the kernel counts time and not probes. */
	(void)set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, is_patient ? INT_MAX : 0);
}

bool sock_tune_silent_tunnel(int fd, uint32_t user_timeout_ms)
{
	struct long_tcp_info info;
	/* At least ten probes are left to who calls within a few seconds; the first of them come sooner, so eight must do. */
	uint32_t apart_ms = user_timeout_ms / 8;

	if (get_info(fd, &info) < 0 || !info.base.tcpi_probes)
		return false;
	if (apart_ms < TUNNEL_RTO_MAX_MS)
		apart_ms = TUNNEL_RTO_MAX_MS;
	if (apart_ms > KERNEL_RTO_MAX_MS)
		apart_ms = KERNEL_RTO_MAX_MS;
	(void)set_int(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, (int)apart_ms);
	return true;
}
