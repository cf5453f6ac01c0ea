/* SPDX-License-Identifier: GPL-3.0-or-later */
/* issuer.h - the running issuer: it keeps the authorities in their Secret, publishes what nodes trust, and answers the requests for
 * certificates that the API shows. It does one thing after the other, and in this order: know the Secret (no older than 10 s), publish,
 * take the rotation's next step, answer a request. So nothing is ever signed by an authority that is not published.
 *
 * It keeps no state of its own. All changes name the version that they were made from, so any number of issuers may run at once without
 * choosing a leader: the one that lost a race looks again. One that was killed at any moment has left nothing half done.
 * Thread: one. */
#ifndef CULVERT_ISSUER_ISSUER_H
#define CULVERT_ISSUER_ISSUER_H

#include "issuer/judge.h"
#include "issuer/rotation.h"
#include "kube/client.h"
#include "net/loop.h"

struct issuer;

struct issuer_settings {
	const char *name_space; /* of the Secret, the ConfigMap and the daemons' pods */
	const char *account;    /* the daemons' service account */
	const char *owner;      /* a service account whose end is the end of Secret and ConfigMap; "": none */
	const char *signer, *secret, *bundle;
	struct name_template name; /* not shared */
	struct rotation_settings rotation;
};

/* client and the texts of s are borrowed for its life. 0 or -errno. */
int issuer_create(struct loop *loop, struct kube_client *client, const struct issuer_settings *s, struct issuer **ret);
void issuer_destroy(struct issuer *i); /* NULL is welcome */

/* A text of several lines about what it does, for people: authorities, counts, trouble. It is well where it knows its authority, has
 * published it, and sees requests as they come. */
enum { ISSUER_STATE_BYTES = 8192 };
void issuer_state(const struct issuer *i, char text[ISSUER_STATE_BYTES]);

/* Asks for a rotation by a mark in the Secret, which the running issuer finds. done is called once, from the loop: error "" where it is
 * asked for. 0 or -errno. */
struct issuer_ask {
	struct kube_client *client;
	const char *name_space, *secret; /* borrowed until done */
	void (*done)(struct issuer_ask *a, const char *error);
	void *private;
};
int issuer_ask_rotation(struct issuer_ask *a);

#endif
