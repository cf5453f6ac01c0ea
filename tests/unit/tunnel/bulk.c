/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bulk.h"

#include "carry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>

#include <cmocka.h>

bool bulk_is_up(void *ctx)
{
	const struct tunnel *t = side_tunnel(ctx);

	return t && tunnel_has_bulk(t);
}

bool bulk_has_stream(void *ctx)
{
	return ((struct stream *)ctx)->tx_link == FRAME_LINK_BULK;
}

void bulk_is_next(struct stream *s)
{
	s->tx.delivered = s->tx.sent; /* as a WINDOW would have said */
	s->large_since = pool_now(s->pool);
	s->large_bytes = STREAM_BULK_BYTES - STREAM_LARGE_READ_BYTES;
	s->is_read_small = false; /* as large reads would have left it */
}

void bulk_deafen_light(struct pair *p, int *ret_client, int *ret_server)
{
	talk_open(p, 0, "10.1.0.5:40000", "10.2.0.7:80", ret_client, ret_server);
	carry_bytes(p, *ret_client, *ret_server, 100);
	tunnel_want_bulk(side_tunnel(&p->side[0]));
	assert_true(pair_pump(p, bulk_is_up, &p->side[0]));
	assert_true(pair_pump(p, bulk_is_up, &p->side[1]));
	bulk_is_next(talk_stream(&p->side[0]));
	talk_stream(&p->side[0])->tx.limit += 65536;
	talk_stream(&p->side[1])->rx.limit += 65536;
	loop_remove(p->side[1].loop, &side_tunnel(&p->side[1])->link[FRAME_LINK_LIGHT]->source);
}

void bulk_hear_light(struct pair *p)
{
	struct link *light = side_tunnel(&p->side[1])->link[FRAME_LINK_LIGHT];

	assert_int_equal(loop_add(p->side[1].loop, &light->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), 0);
}
