/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/crl.h"

#include "tls/der.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool element_is_time(const struct der_element *e)
{
	return e->tag == ASN_UTC_TIME || e->tag == ASN_GENERALIZED_TIME;
}

/* CertificateList: SEQUENCE { SEQUENCE { version OPTIONAL, signature, issuer, thisUpdate, nextUpdate OPTIONAL, ... }, ... } (RFC 5280,
 * 5.1) */
int crl_read(const uint8_t *der, size_t len_bytes, struct crl *ret)
{
	struct der_reader file = { der, len_bytes }, list, body;
	struct der_element e;
	struct crl crl = { 0 };
	bool is_there;
	const byte *date;
	struct tm tm = { 0 };
	byte format;
	int len;

	if (!der_enter(&file, DER_SEQUENCE, &list) || !der_enter(&list, DER_SEQUENCE, &body) || !der_take(&body, &e))
		return -EINVAL;
	if (e.tag == ASN_INTEGER && !der_take(&body, &e))
		return -EINVAL;
	if (!der_take(&body, &e) || e.tag != (ASN_SEQUENCE | ASN_CONSTRUCTED))
		return -EINVAL;
	crl.issuer = e.content;
	crl.issuer_len_bytes = e.content_len_bytes;
	if (!der_take(&body, &e) || !element_is_time(&e))
		return -EINVAL;
	is_there = der_take(&body, &e);
	if (is_there && element_is_time(&e)) {
		if (wc_GetDateInfo(e.whole, (int)e.whole_len_bytes, &date, &format, &len) != 0 ||
		    wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
			return -EINVAL;
		crl.has_next_update = true;
		crl.next_update_s = timegm(&tm);
		is_there = der_take(&body, &e);
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
static bool serial_is(const struct der_element *e, const char *serial)
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
	struct der_reader list = { crl->revoked, crl->revoked_len_bytes }, entry;
	struct der_element e;

	/* SEQUENCE OF SEQUENCE { userCertificate, revocationDate, ... } */
	while (list.left && der_enter(&list, DER_SEQUENCE, &entry)) {
		if (der_take(&entry, &e) && e.tag == ASN_INTEGER && serial_is(&e, serial))
			return true;
	}
	return false;
}
