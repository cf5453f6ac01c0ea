/* SPDX-License-Identifier: GPL-3.0-or-later */
/* netlink.h - rtnetlink requests and dumps over a libnl socket, with real errnos.
 * Knows nothing of what is asked. A socket belongs to the network namespace in which it was opened; one thread uses it. */
#ifndef CULVERT_EDGE_NETLINK_H
#define CULVERT_EDGE_NETLINK_H

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <stddef.h>

/* A request that creates something, and one that fails where it exists already. */
#define NETLINK_REPLACE (NLM_F_CREATE | NLM_F_REPLACE)
#define NETLINK_CREATE  (NLM_F_CREATE | NLM_F_EXCL)

/* A route socket of the calling thread's network namespace. NULL: no memory or no descriptors. */
struct nl_sock *netlink_open(void);
void netlink_close(struct nl_sock *s); /* NULL is welcome */

/* A message of type whose fixed head is copied from head. NULL: no memory. */
struct nl_msg *netlink_message(int type, int flags, const void *head, size_t head_bytes);

/* Sends m (taken, may be NULL: -ENOMEM) and waits for the kernel's answer. 0 or -errno. */
int netlink_request(struct nl_sock *s, struct nl_msg *m);
/* The same, and on_message sees each message of the answer; for a dump m has NLM_F_DUMP. -EINTR: the table changed under way, ask again. */
int netlink_query(struct nl_sock *s, struct nl_msg *m, void (*on_message)(void *ctx, struct nlmsghdr *h), void *ctx);

#endif
