/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/crl.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What is left of the inside of one element. */
struct reader {
	const uint8_t *at;
	size_t left;
};

struct element {
	uint8_t tag;
	const uint8_t *whole, *content;
	size_t whole_len_bytes, content_len_bytes;
};

static bool reader_take(struct reader *r, struct element *ret)
{
	size_t head = 2, len;

	if (r->left < 2)
		return false;
	len = r->at[1];
	if (len & 0x80) {
		size_t n = len & 0x7f;

		if (n == 0 || n > 4 || r->left < 2 + n)
			return false;
		len = 0;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | r->at[2 + i];
		head += n;
	}
	if (len > r->left - head)
		return false;
	*ret = (struct element){
		.tag = r->at[0], .whole = r->at, .whole_len_bytes = head + len, .content = r->at + head, .content_len_bytes = len
	};
	r->at += head + len;
	r->left -= head + len;
	return true;
}

static bool reader_enter(struct reader *r, struct reader *ret)
{
	struct element e;

	if (!reader_take(r, &e) || e.tag != (ASN_SEQUENCE | ASN_CONSTRUCTED))
		return false;
	*ret = (struct reader){ e.content, e.content_len_bytes };
	return true;
}

static bool element_is_time(const struct element *e)
{
	return e->tag == ASN_UTC_TIME || e->tag == ASN_GENERALIZED_TIME;
}

/* CertificateList: SEQUENCE { SEQUENCE { version OPTIONAL, signature, issuer, thisUpdate, nextUpdate OPTIONAL, ... }, ... } (RFC 5280,
 * 5.1) */
int crl_read(const uint8_t *der, size_t len_bytes, struct crl *ret)
{
	struct reader file = { der, len_bytes }, list, body;
	struct element e;
	struct crl crl = { 0 };
	bool is_there;
	const byte *date;
	struct tm tm = { 0 };
	byte format;
	int len;

	if (!reader_enter(&file, &list) || !reader_enter(&list, &body) || !reader_take(&body, &e))
		return -EINVAL;
	if (e.tag == ASN_INTEGER && !reader_take(&body, &e))
		return -EINVAL;
	if (!reader_take(&body, &e) || e.tag != (ASN_SEQUENCE | ASN_CONSTRUCTED))
		return -EINVAL;
	crl.issuer = e.content;
	crl.issuer_len_bytes = e.content_len_bytes;
	if (!reader_take(&body, &e) || !element_is_time(&e))
		return -EINVAL;
	is_there = reader_take(&body, &e);
	if (is_there && element_is_time(&e)) {
		if (wc_GetDateInfo(e.whole, (int)e.whole_len_bytes, &date, &format, &len) != 0 ||
		    wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
			return -EINVAL;
		crl.has_next_update = true;
		crl.next_update_s = timegm(&tm);
		is_there = reader_take(&body, &e);
	}
	if (is_there && e.tag == (ASN_SEQUENCE | ASN_CONSTRUCTED)) {
		crl.revoked = e.content;
		crl.revoked_len_bytes = e.content_len_bytes;
	}
	*ret = crl;
	return 0;
}

bool crl_is_of(const struct crl *crl, const uint8_t *cert_der, size_t cert_len_bytes)
{
	DecodedCert dc;
	bool is;

	wc_InitDecodedCert(&dc, cert_der, (word32)cert_len_bytes, NULL);
	is = wc_ParseCert(&dc, CERT_TYPE, NO_VERIFY, NULL) == 0 && (size_t)dc.subjectRawLen == crl->issuer_len_bytes &&
	     memcmp(dc.subjectRaw, crl->issuer, crl->issuer_len_bytes) == 0;
	wc_FreeDecodedCert(&dc);
	return is;
}

/* The library's text of a number has no leading zero byte; a list's DER has one where the highest bit is set. */
static bool serial_is(const struct element *e, const char *serial)
{
	const uint8_t *at = e->content, *end = at + e->content_len_bytes;
	char text[3];

	while (at < end && !*at)
		at++;
	while (serial[0] == '0' && serial[1] == '0')
		serial += 2;
	for (; at < end; at++, serial += 2) {
		snprintf(text, sizeof(text), "%02x", *at);
		if (strncmp(serial, text, 2) != 0)
			return false;
	}
	return !*serial;
}

bool crl_revokes(const struct crl *crl, const char *serial)
{
	struct reader list = { crl->revoked, crl->revoked_len_bytes }, entry;
	struct element e;

	/* SEQUENCE OF SEQUENCE { userCertificate, revocationDate, ... } */
	while (list.left && reader_enter(&list, &entry)) {
		if (reader_take(&entry, &e) && e.tag == ASN_INTEGER && serial_is(&e, serial))
			return true;
	}
	return false;
}
