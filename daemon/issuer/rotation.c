/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/rotation.h"

#include "base/text.h"
#include "tls/pem.h"
#include "tls/signer.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { LEAF_LEAST_S = 10 }; /* one that ends sooner is of no use to anybody */

static const char *const step_names[] = {
	[ROTATION_STAY] = "stay",           [ROTATION_LENGTHEN] = "lengthen", [ROTATION_BEGIN] = "begin",
	[ROTATION_PUBLISHED] = "published", [ROTATION_SWITCH] = "switch",     [ROTATION_FORGET] = "forget",
};
static_assert(sizeof(step_names) / sizeof(step_names[0]) == ROTATION_STEPS, "a name for each step");

static const char *const key_names[] = {
	[ROTATION_CURRENT_CERT] = "ca.crt", [ROTATION_CURRENT_KEY] = "ca.key",    [ROTATION_NEXT_CERT] = "next.crt",
	[ROTATION_NEXT_KEY] = "next.key",   [ROTATION_NEXT_SINCE] = "next.since", [ROTATION_OLD_CERT] = "old.crt",
	[ROTATION_OLD_UNTIL] = "old.until", [ROTATION_LONGEST] = "longest",       [ROTATION_ASKED] = "rotate",
};
static_assert(sizeof(key_names) / sizeof(key_names[0]) == ROTATION_KEYS, "a name for each key");

const char *rotation_step_name(enum rotation_step step)
{
	return step_names[step];
}

const char *rotation_key_name(enum rotation_key key)
{
	return key_names[key];
}

static void authority_done(struct rotation_authority *a)
{
	if (a->key)
		explicit_bzero(a->key, strlen(a->key));
	free(a->key);
	free(a->cert);
	*a = (struct rotation_authority){ 0 };
}

void rotation_done(struct rotation *r)
{
	authority_done(&r->current);
	authority_done(&r->next);
	authority_done(&r->old);
	*r = (struct rotation){ 0 };
}

static int authority_copy(const struct rotation_authority *a, struct rotation_authority *ret)
{
	struct rotation_authority copy = *a;

	copy.cert = a->cert ? strdup(a->cert) : NULL;
	copy.key = a->key ? strdup(a->key) : NULL;
	if ((a->cert && !copy.cert) || (a->key && !copy.key)) {
		authority_done(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

/* Authorities have names of their own, so that a person can tell two of them apart. */
static int authority_make(const struct rotation_settings *s, int64_t now_s, struct rotation_authority *ret)
{
	struct rotation_authority a = { .not_before_s = now_s - CA_CLOCK_SKEW_S, .not_after_s = now_s + s->authority_lifetime_s };
	struct pem_text cert = { 0 }, key = { 0 };
	char name[CA_COMMON_NAME_MAX + 1], date[16];
	time_t t = (time_t)now_s;
	uint16_t random;
	struct tm tm;
	int r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random) || !gmtime_r(&t, &tm))
		return -EIO;
	strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	snprintf(name, sizeof(name), "Culvert CA %s %04x", date, random);
	r = signer_make(name, a.not_before_s, a.not_after_s, &cert, &key);
	if (r)
		return r;
	snprintf(a.subject, sizeof(a.subject), "/CN=%s", name);
	a.cert = cert.text;
	a.key = key.text;
	*ret = a;
	return 0;
}

int rotation_first(const struct rotation_settings *s, int64_t now_s, struct rotation *ret)
{
	struct rotation r = { .longest_s = s->certificate_lifetime_s };
	int error = authority_make(s, now_s, &r.current);

	if (!error)
		*ret = r;
	return error;
}

int64_t rotation_trust_delay(const struct rotation *r, const struct rotation_settings *s)
{
	return s->trust_delay_s < 0 ? r->longest_s : s->trust_delay_s;
}

/* Two thirds of its life are over, or so little is left that what it signs while the next one takes over would be cut short. */
static bool is_old_enough(const struct rotation_authority *a, const struct rotation *r, const struct rotation_settings *s, int64_t now_s)
{
	int64_t left_s = a->not_after_s - now_s, third_s = (a->not_after_s - a->not_before_s) / 3;

	return left_s < third_s || left_s < rotation_trust_delay(r, s) + r->longest_s;
}

enum rotation_step rotation_due(const struct rotation *r, const struct rotation_settings *s, int64_t now_s, bool is_published)
{
	/* Where certificates live longer than they used to, the delay must be as long before one of them is signed. */
	if (s->certificate_lifetime_s > r->longest_s)
		return ROTATION_LENGTHEN;
	if (r->next.cert) {
		/* Of an authority that has ended no certificate is good: nobody needs to be waited for. */
		bool has_ended = r->current.not_after_s - now_s < LEAF_LEAST_S;

		if (!r->next_since_s)
			return is_published ? ROTATION_PUBLISHED : ROTATION_STAY;
		return has_ended || now_s - r->next_since_s >= rotation_trust_delay(r, s) ? ROTATION_SWITCH : ROTATION_STAY;
	}
	if (r->old.cert)
		return now_s >= r->old_until_s || now_s >= r->old.not_after_s ? ROTATION_FORGET : ROTATION_STAY;
	return r->is_asked || is_old_enough(&r->current, r, s, now_s) ? ROTATION_BEGIN : ROTATION_STAY;
}

static int rotation_copy(const struct rotation *r, struct rotation *ret)
{
	struct rotation copy = *r;

	copy.current = copy.next = copy.old = (struct rotation_authority){ 0 };
	if (authority_copy(&r->current, &copy.current) || authority_copy(&r->next, &copy.next) || authority_copy(&r->old, &copy.old)) {
		rotation_done(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static void step_switch(struct rotation *r, const struct rotation_settings *s, int64_t now_s)
{
	authority_done(&r->old);
	r->old = r->current;
	if (r->old.key)
		explicit_bzero(r->old.key, strlen(r->old.key));
	free(r->old.key);
	r->old.key = NULL;
	r->old_until_s = now_s + r->longest_s + ROTATION_MARGIN_S;
	r->current = r->next;
	r->next = (struct rotation_authority){ 0 };
	r->next_since_s = 0;
	r->longest_s = s->certificate_lifetime_s;
}

int rotation_take(const struct rotation *r, enum rotation_step step, const struct rotation_settings *s, int64_t now_s, struct rotation *ret)
{
	struct rotation after;
	int error = rotation_copy(r, &after);

	if (error)
		return error;
	switch (step) {
	case ROTATION_LENGTHEN:
		after.longest_s = s->certificate_lifetime_s;
		break;
	case ROTATION_BEGIN:
		error = authority_make(s, now_s, &after.next);
		after.is_asked = false;
		break;
	case ROTATION_PUBLISHED:
		after.next_since_s = now_s;
		break;
	case ROTATION_SWITCH:
		step_switch(&after, s, now_s);
		break;
	case ROTATION_FORGET:
		authority_done(&after.old);
		after.old_until_s = 0;
		break;
	case ROTATION_STAY:
	case ROTATION_STEPS:
		break;
	}
	if (error) {
		rotation_done(&after);
		return error;
	}
	*ret = after;
	return 0;
}

int rotation_bundle(const struct rotation *r, char **ret)
{
	const struct rotation_authority *all[] = { &r->current, &r->next, &r->old };
	size_t len = 1;
	char *text, *at;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		len += all[i]->cert ? strlen(all[i]->cert) : 0;
	text = malloc(len);
	if (!text)
		return -ENOMEM;
	at = text;
	*at = '\0';
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		at = stpcpy(at, all[i]->cert ? all[i]->cert : "");
	*ret = text;
	return 0;
}

int64_t rotation_leaf_end(const struct rotation *r, const struct rotation_settings *s, int64_t now_s, int64_t asked_s)
{
	int64_t life_s = s->certificate_lifetime_s, end_s;

	if (asked_s > 0 && asked_s < life_s)
		life_s = asked_s;
	if (life_s < LEAF_LEAST_S)
		life_s = LEAF_LEAST_S;
	end_s = now_s + life_s;
	if (end_s > r->current.not_after_s)
		end_s = r->current.not_after_s;
	return end_s - now_s < LEAF_LEAST_S ? 0 : end_s;
}

/* --- stored --- */

static const char *number_text(int64_t value, char text[24])
{
	if (value)
		snprintf(text, 24, "%lld", (long long)value);
	else
		text[0] = '\0';
	return text;
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

void rotation_store(const struct rotation *r, struct rotation_stored *ret)
{
	const char **texts = ret->texts;

	texts[ROTATION_CURRENT_CERT] = or_empty(r->current.cert);
	texts[ROTATION_CURRENT_KEY] = or_empty(r->current.key);
	texts[ROTATION_NEXT_CERT] = or_empty(r->next.cert);
	texts[ROTATION_NEXT_KEY] = or_empty(r->next.key);
	texts[ROTATION_NEXT_SINCE] = number_text(r->next_since_s, ret->numbers[ROTATION_NEXT_SINCE]);
	texts[ROTATION_OLD_CERT] = or_empty(r->old.cert);
	texts[ROTATION_OLD_UNTIL] = number_text(r->old_until_s, ret->numbers[ROTATION_OLD_UNTIL]);
	texts[ROTATION_LONGEST] = number_text(r->longest_s, ret->numbers[ROTATION_LONGEST]);
	texts[ROTATION_ASKED] = r->is_asked ? "asked" : "";
}

__attribute__((format(printf, 3, 4))) static int load_fault(char error[ROTATION_ERROR_BYTES], enum rotation_key key, const char *format,
                                                            ...)
{
	va_list args;
	int n = snprintf(error, ROTATION_ERROR_BYTES, "%s: ", key_names[key]);

	va_start(args, format);
	vsnprintf(error + n, (size_t)(ROTATION_ERROR_BYTES - n), format, args);
	va_end(args);
	return -EINVAL;
}

static bool is_there(const char *text)
{
	return text && text[0];
}

static int load_number(const char *const texts[ROTATION_KEYS], enum rotation_key key, int64_t *ret, char error[ROTATION_ERROR_BYTES])
{
	char quoted[TEXT_QUOTE_BYTES];
	uint64_t value;

	if (!is_there(texts[key])) {
		*ret = 0;
		return 0;
	}
	if (text_parse_u64(texts[key], &value) || value > INT64_MAX / 2)
		return load_fault(error, key, "%s is no number of seconds", text_quote(texts[key], quoted));
	*ret = (int64_t)value;
	return 0;
}

static int load_cert(const char *text, enum rotation_key key, struct rotation_authority *ret, char error[ROTATION_ERROR_BYTES])
{
	struct rotation_authority a = { 0 };
	char fault[CERT_FAULT_BYTES];
	enum pem_fault pem_fault;
	struct cert cert;
	struct pem pem;
	unsigned line;
	int r = 0;

	pem_fault = pem_parse(text, strlen(text), &pem, &line);
	if (pem_fault)
		return load_fault(error, key, "%s", pem_fault_text(pem_fault));
	if (pem.count != 1)
		r = load_fault(error, key, "holds %zu PEM blocks, one is right", pem.count);
	else if (cert_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &cert, fault))
		r = load_fault(error, key, "the certificate %s", fault);
	else if (!cert.is_authority)
		r = load_fault(error, key, "the certificate of %s is no authority's", cert.subject);
	pem_done(&pem);
	if (r)
		return r;
	a.cert = strdup(text);
	if (!a.cert)
		return -ENOMEM;
	memcpy(a.subject, cert.subject, sizeof(a.subject));
	a.not_before_s = cert.not_before_s;
	a.not_after_s = cert.peer.not_after_s;
	*ret = a;
	return 0;
}

/* An authority with its key, which must fit. */
static int load_pair(const char *const texts[ROTATION_KEYS], enum rotation_key cert_key, enum rotation_key key_key,
                     struct rotation_authority *ret, char error[ROTATION_ERROR_BYTES])
{
	struct rotation_authority a = { 0 };
	char fault[CA_ERROR_BYTES];
	struct signer *signer;
	int r;

	if (!is_there(texts[cert_key]))
		return load_fault(error, cert_key, "is missing");
	if (!is_there(texts[key_key]))
		return load_fault(error, key_key, "is missing");
	r = load_cert(texts[cert_key], cert_key, &a, error);
	if (r)
		return r;
	r = signer_open(texts[cert_key], texts[key_key], &signer, fault);
	if (r) {
		authority_done(&a);
		return r == -ENOMEM ? r : load_fault(error, key_key, "%s", fault);
	}
	signer_close(signer);
	a.key = strdup(texts[key_key]);
	if (!a.key) {
		authority_done(&a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

int rotation_load(const char *const texts[ROTATION_KEYS], struct rotation *ret, char error[ROTATION_ERROR_BYTES])
{
	struct rotation r = { .is_asked = is_there(texts[ROTATION_ASKED]) };
	int e;

	e = load_number(texts, ROTATION_NEXT_SINCE, &r.next_since_s, error);
	if (!e)
		e = load_number(texts, ROTATION_OLD_UNTIL, &r.old_until_s, error);
	if (!e)
		e = load_number(texts, ROTATION_LONGEST, &r.longest_s, error);
	if (!e)
		e = load_pair(texts, ROTATION_CURRENT_CERT, ROTATION_CURRENT_KEY, &r.current, error);
	if (!e && (is_there(texts[ROTATION_NEXT_CERT]) || is_there(texts[ROTATION_NEXT_KEY])))
		e = load_pair(texts, ROTATION_NEXT_CERT, ROTATION_NEXT_KEY, &r.next, error);
	if (!e && is_there(texts[ROTATION_OLD_CERT]))
		e = load_cert(texts[ROTATION_OLD_CERT], ROTATION_OLD_CERT, &r.old, error);
	if (e) {
		if (e == -ENOMEM)
			snprintf(error, ROTATION_ERROR_BYTES, "out of memory");
		rotation_done(&r);
		return e;
	}
	*ret = r;
	return 0;
}
