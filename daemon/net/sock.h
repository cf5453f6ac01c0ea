/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sock.h - non-blocking TCP sockets: listen, connect, accept, transparent bind, and in which network namespace they are made.
 * A socket belongs for its life to the network namespace in which its thread was when it was made. Errors are negative errnos. */
#ifndef CULVERT_NET_SOCK_H
#define CULVERT_NET_SOCK_H

#include "base/addr.h"

#include <stdbool.h>
#include <stdint.h>

/* Puts the calling thread into a network namespace; ns_fd is borrowed. 0 or -errno (EPERM: CAP_SYS_ADMIN is missing). */
int sock_enter_netns(int ns_fd);

/* A listener for diverted connections in the private namespace, on a loopback address with a port that the kernel picks: the sk_lookup
 * program finds it whatever the destination is. IP_TRANSPARENT, TCP_NODELAY, SO_LINGER {1, 0} and the congestion control are inherited by
 * what it accepts. family: AF_INET or AF_INET6 (V6ONLY). Returns the descriptor. */
int sock_listen_transparent(int family, int backlog);

/* A listener at one address of the namespace; [::] takes both families. Returns the descriptor. */
int sock_listen(const struct endpoint *at, int backlog);

/* A listener for tunnels at port on every address of the namespace, both families in one socket where IPv6 is there. */
int sock_listen_tunnel(uint16_t port, int backlog);

/* Begins a connection to dst. *ret_pending says whether it is still under way (EPOLLOUT, then sock_error). source: bound first, NULL for
 * the kernel's choice. Returns the descriptor. */
int sock_connect(const struct endpoint *source, const struct endpoint *dst, bool *ret_pending);

/* The same from an address that is not ours: IP_TRANSPARENT, SO_REUSEADDR, SO_LINGER {1, 0}, TCP_NODELAY. The client pod's address and port
 * are the source. An ICMP error that comes while connect() runs ends it here as it would a moment later. sock_connected_transparent
 * when it has connected.
 * is_ack_late: the last step of the handshake is kept back until something is sent, sock_send_ack, or for 200 ms (TCP_DELACK_MAX). Until then the
 * other side has nothing to accept, and a close leaves it without ever having seen the connection. */
int sock_connect_transparent(const struct endpoint *source, const struct endpoint *dst, bool is_ack_late, bool *ret_pending);
void sock_send_ack(int fd); /* harmless where none is kept back */

/* For a connection of sock_connect_transparent that failed: the ICMP error that said so. false: none did. */
bool sock_take_icmp(int fd, uint8_t *ret_type, uint8_t *ret_code, struct addr *ret_from);
/* It has connected: from now on ICMP errors are what they are to any socket, and end nothing. */
void sock_connected_transparent(int fd, const struct endpoint *dst);

/* Accepts one connection. -EAGAIN: none there. -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: the caller pauses. peer and local may be NULL.
 * Returns the descriptor. */
int sock_accept(int listen_fd, struct endpoint *ret_peer, struct endpoint *ret_local);

int sock_error(int fd); /* takes SO_ERROR: 0 or a positive errno */
/* true: a later close is a reset (SO_LINGER {1, 0}); false: an orderly end. A socket that carries a stream is on from its making until both
 * ends are acknowledged, so that a killed daemon shows as a reset and never as a clean end. */
void sock_set_reset_on_close(int fd, bool on);
/* Bytes that were written but not acknowledged by the peer (SIOCOUTQ), or -errno. */
int sock_unacked_bytes(int fd);
/* Is the next byte to be read the urgent one, or would it be, if it were here? */
bool sock_is_at_mark(int fd);

/* Options of a tunnel's socket: TCP_NODELAY, keepalive off (PING does it), TCP_USER_TIMEOUT user_timeout_ms, and retransmission that comes
 * back within a second or two after a cut where the kernel can (TCP_RTO_MAX_MS, since 6.15). What the kernel lacks is left out silently. */
void sock_tune_tunnel(int fd, uint32_t user_timeout_ms);
/* After that, for a connection of a tunnel by which no PING goes: the kernel asks every 30 s, so that what keeps state on the way (a cloud's network
 * forgets connections after some minutes) has something to see. Its TCP_USER_TIMEOUT is so much longer, since it counts from the last answer. */
void sock_keep_alive(int fd, uint32_t user_timeout_ms);
/* For a connected socket of a tunnel. Where its shortest round trip is 5 ms or more all streams of a node share what fits into one connection's buffers,
 * and the kernel lets those grow to what one connection of a pod may have (tcp_wmem, 4 MB), or not at all (Linux 6.18, where a round trip's packets come
 * in one burst). There it gets 64 MB in each direction, of which at most 1 MB waits to be sent (TCP_NOTSENT_LOWAT), so that what is told late is not
 * told behind all of it. Elsewhere nothing changes: fixed buffers cost some percent of a short wire's rate. Returns whether it is long. */
bool sock_tune_long_tunnel(int fd);
/* Has the kernel sent the same again several times, in vain? About 1.5 s after the peer or the wire has gone, where something is under way. */
bool sock_is_unanswered(int fd);
/* While the peer does not answer: where its window was closed when it fell silent, the kernel sends no data but probes, and gives up after
 * tcp_retries2 of them (15) whatever TCP_USER_TIMEOUT says. Spreads them over user_timeout_ms; true where it had to. sock_tune_tunnel takes it back. */
bool sock_tune_silent_tunnel(int fd, uint32_t user_timeout_ms);

/* Does the other end answer? */
struct sock_answers {
	uint8_t tries;     /* in a row without an answer: retransmissions, or probes */
	uint32_t quiet_ms; /* since the last acknowledgement */
};
int sock_answers(int fd, struct sock_answers *ret); /* 0 or -errno */
/* The other end is probed while nothing else goes to it (the namespace's tcp_keepalive_time and _intvl); one that does not answer ends the
 * connection after tcp_keepalive_probes, unless sock_set_patient. */
void sock_probe(int fd);
/* Probes without an answer never end the connection; nor does what is written, so it is for one where nothing is outstanding. */
void sock_set_patient(int fd, bool is_patient);

/* The congestion control that every socket of ours gets, "cubic" or "reno": a host default of bbr halves the local hops (measured). */
const char *sock_congestion_control(void);

#endif
