/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/trail.h"

#include <stdlib.h>

struct step {
	struct list entry;
	uint64_t number;
	struct view *view;
};

void trail_init(struct trail *t)
{
	list_init(&t->steps);
	t->number = 0;
}

void trail_done(struct trail *t)
{
	trail_let_go(t, UINT64_MAX);
}

uint64_t trail_add(struct trail *t, struct view *v)
{
	struct step *s = calloc(1, sizeof(*s));

	if (!s)
		return 0;
	s->number = ++t->number;
	s->view = view_ref(v);
	list_append(&t->steps, &s->entry);
	return s->number;
}

void trail_let_go(struct trail *t, uint64_t number)
{
	list_for_each_safe(at, &t->steps) {
		struct step *s = container_of(at, struct step, entry);

		if (s->number >= number)
			return;
		list_remove(at);
		view_unref(s->view);
		free(s);
	}
}
