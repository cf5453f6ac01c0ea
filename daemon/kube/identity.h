/* SPDX-License-Identifier: GPL-3.0-or-later */
/* identity.h - gets this node's certificate from the cluster: makes the key, asks by a CertificateSigningRequest, takes what a signer puts
 * there and the authorities that its ConfigMap publishes, judges all of it as any certificate is judged, and puts it into a folder as one
 * generation. Renews it after two thirds of its life, follows the ConfigMap, and keeps what is there while nobody answers. Knows nothing of
 * what the files are for: who reads the folder watches it (tls/cred.h).
 *
 *   RESTING --renewal is due, or there is no good certificate--> ASKING --it is made--> WAITING --certificate--> TAKING --> RESTING
 *                                                                  ^ after a failure, later and later |
 * Thread: main. */
#ifndef CULVERT_KUBE_IDENTITY_H
#define CULVERT_KUBE_IDENTITY_H

#include "kube/client.h"
#include "tls/cred.h"

enum {
	IDENTITY_ERROR_BYTES = KUBE_ERROR_BYTES + CRED_ERROR_BYTES,
	IDENTITY_NODE_BYTES = 254,
	IDENTITY_REQUEST_BYTES = 254,
	IDENTITY_CHECK_MIN_MS = 5000, /* the ConfigMap is read after a twentieth of the certificate's life, within these two */
	IDENTITY_CHECK_MAX_MS = 300000,
	IDENTITY_POLL_MIN_MS = 250, /* for the answer: twice as long each time */
	IDENTITY_POLL_MAX_MS = 10000,
	IDENTITY_QUIET_S = 10,     /* an answer that has not come after this is said to be missing */
	IDENTITY_GIVE_UP_S = 3600, /* and after this a new request is made: the API throws old ones away */
};

/* The ConfigMap that culvert-issuer publishes, and its key. */
#define IDENTITY_BUNDLE     "culvert-ca"
#define IDENTITY_BUNDLE_KEY "ca.crt"

struct identity;

struct identity_settings {
	const char *node, *signer;
	const char *name_space; /* of the ConfigMap */
	const char *directory;  /* this module's alone; made where it is missing */
	struct tls_name name;   /* this node's */
	uint64_t seed;          /* of the jitter */
};

struct identity_ops {
	void (*changed)(void *ctx); /* other files are in force; from the loop */
};

/* loop and client are borrowed, the texts copied. Files that are there and good are in force at once. 0 or -errno. */
int identity_create(struct loop *loop, struct kube_client *client, const struct identity_settings *s, const struct identity_ops *ops,
                    void *ctx, struct identity **ret);
void identity_destroy(struct identity *i); /* the files stay. NULL is welcome */

enum identity_phase { IDENTITY_RESTING, IDENTITY_ASKING, IDENTITY_WAITING, IDENTITY_TAKING, IDENTITY_PHASES };
const char *identity_phase_name(enum identity_phase phase);

/* For the status. Unix times; 0: never, or not known. */
struct identity_state {
	enum identity_phase phase;
	bool has_certificate;                 /* good files are in force */
	int64_t since_s;                      /* the certificate in force was issued */
	int64_t renew_s;                      /* the next is asked for */
	int64_t bundle_s;                     /* the ConfigMap was last read */
	int64_t failed_s;                     /* of the last failure */
	uint64_t issued;                      /* certificates that were taken since the start */
	char request[IDENTITY_REQUEST_BYTES]; /* that is waited for, or "" */
	char error[IDENTITY_ERROR_BYTES];     /* why the last try failed, or what is waited for; "": all is well */
};
void identity_state(const struct identity *i, struct identity_state *ret);

/* When a certificate of that time is renewed: two thirds of its life after it was issued, earlier or later by up to a twentieth of it.
 * random: anything. Pure. */
int64_t identity_renewal(int64_t not_before_s, int64_t not_after_s, uint64_t random);

#endif
