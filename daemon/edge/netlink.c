/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/netlink.h"

#include <errno.h>
#include <stdbool.h>

#include <netlink/errno.h>

/* What one exchange leaves behind. libnl's own numbers lose too much: the caller tells "is there already" from "no such device". */
struct exchange {
	void (*on_message)(void *ctx, struct nlmsghdr *h);
	void *ctx;
	int error;
	bool is_done;
};

struct nl_sock *netlink_open(void)
{
	struct nl_sock *s = nl_socket_alloc();

	if (!s)
		return NULL;
	if (nl_connect(s, NETLINK_ROUTE)) {
		nl_socket_free(s);
		return NULL;
	}
	return s;
}

void netlink_close(struct nl_sock *s)
{
	if (s)
		nl_socket_free(s);
}

struct nl_msg *netlink_message(int type, int flags, const void *head, size_t head_bytes)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (m && nlmsg_append(m, (void *)(uintptr_t)head, head_bytes, NLMSG_ALIGNTO)) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

static int on_valid(struct nl_msg *m, void *arg)
{
	struct exchange *x = arg;

	if (x->on_message)
		x->on_message(x->ctx, nlmsg_hdr(m));
	return NL_OK;
}

static int on_end(struct nl_msg *m, void *arg)
{
	struct exchange *x = arg;

	(void)m;
	x->is_done = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct exchange *x = arg;

	(void)from;
	x->error = e->error;
	x->is_done = true;
	return NL_STOP;
}

int netlink_query(struct nl_sock *s, struct nl_msg *m, void (*on_message)(void *ctx, struct nlmsghdr *h), void *ctx)
{
	struct exchange x = { .on_message = on_message, .ctx = ctx };
	struct nl_cb *cb;
	bool is_dump;
	int error;

	if (!m)
		return -ENOMEM;
	is_dump = (nlmsg_hdr(m)->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	cb = nl_cb_alloc(NL_CB_DEFAULT);
	if (!cb) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &x);
	nl_cb_set(cb, is_dump ? NL_CB_FINISH : NL_CB_ACK, NL_CB_CUSTOM, on_end, &x);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &x);

	error = nl_send_auto(s, m);
	nlmsg_free(m);
	while (error >= 0 && !x.is_done)
		error = nl_recvmsgs(s, cb);
	nl_cb_put(cb);
	if (x.error)
		return x.error;
	if (error == -NLE_DUMP_INTR)
		return -EINTR;
	return error < 0 && !x.is_done ? -EIO : 0;
}

int netlink_request(struct nl_sock *s, struct nl_msg *m)
{
	return netlink_query(s, m, NULL, NULL);
}
