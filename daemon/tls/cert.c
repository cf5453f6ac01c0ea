/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/cert.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static_assert(CERT_ID_BYTES == (int)KEYID_SIZE, "the library's hashes of names and keys");

static void cert_copy_text(char *dst, size_t cap_bytes, const char *src, size_t len_bytes)
{
	size_t n = len_bytes < cap_bytes - 1 ? len_bytes : cap_bytes - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = src[i] >= ' ' && src[i] <= '~' ? src[i] : '?';
	dst[n] = '\0';
}

static int cert_read_time(const byte *field, int field_bytes, int64_t *ret)
{
	const byte *date;
	byte format;
	int len;
	struct tm tm = { 0 };

	if (wc_GetDateInfo(field, field_bytes, &date, &format, &len) != 0 || wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
		return -EINVAL;
	*ret = timegm(&tm);
	return 0;
}

static bool cert_is_our_name(const DNS_entry *e)
{
	return e->type == ASN_URI_TYPE || e->type == ASN_DNS_TYPE;
}

static int cert_read_names(const DecodedCert *dc, struct tls_peer *peer, char fault[CERT_FAULT_BYTES])
{
	size_t count = 0, i;

	for (const DNS_entry *e = dc->altNames; e; e = e->next)
		count += cert_is_our_name(e);
	if (count > TLS_NAMES_MAX) {
		snprintf(fault, CERT_FAULT_BYTES, "holds %zu URI and DNS names, at most %d are taken", count, TLS_NAMES_MAX);
		return -EINVAL;
	}
	/* The library's list runs from the last to the first. */
	i = count;
	for (const DNS_entry *e = dc->altNames; e; e = e->next) {
		struct tls_name *name;

		if (!cert_is_our_name(e))
			continue;
		name = &peer->names[--i];
		if (e->len <= 0) {
			snprintf(fault, CERT_FAULT_BYTES, "holds an empty name");
			return -EINVAL;
		}
		if (e->len >= TLS_NAME_BYTES) {
			snprintf(fault, CERT_FAULT_BYTES, "holds a name of %d bytes, at most %d are taken", e->len, TLS_NAME_BYTES - 1);
			return -EINVAL;
		}
		if (memchr(e->name, '\0', (size_t)e->len)) {
			snprintf(fault, CERT_FAULT_BYTES, "holds a name with a NUL byte inside");
			return -EINVAL;
		}
		name->type = e->type == ASN_URI_TYPE ? TLS_NAME_URI : TLS_NAME_DNS;
		memcpy(name->text, e->name, (size_t)e->len);
		name->text[e->len] = '\0';
	}
	peer->names_count = count;
	return 0;
}

static void cert_read_serial(const DecodedCert *dc, char *ret, size_t cap_bytes)
{
	size_t at = 0;

	ret[0] = '\0';
	for (int i = 0; i < dc->serialSz && at + 3 <= cap_bytes; i++)
		at += (size_t)snprintf(ret + at, cap_bytes - at, "%02x", dc->serial[i]);
}

int cert_read(const uint8_t *der, size_t len_bytes, struct cert *ret, char fault[CERT_FAULT_BYTES])
{
	struct cert c = { 0 };
	DecodedCert dc;
	int r;

	wc_InitDecodedCert(&dc, der, (word32)len_bytes, NULL);
	r = wc_ParseCert(&dc, CERT_TYPE, NO_VERIFY, NULL);
	if (r != 0) {
		snprintf(fault, CERT_FAULT_BYTES, "can not be read (%s)", wc_GetErrorString(r));
		r = -EINVAL;
		goto out;
	}
	r = -EINVAL;
	if (cert_read_time(dc.beforeDate, dc.beforeDateLen, &c.not_before_s) ||
	    cert_read_time(dc.afterDate, dc.afterDateLen, &c.peer.not_after_s)) {
		snprintf(fault, CERT_FAULT_BYTES, "holds a time that can not be read");
		goto out;
	}
	if (wc_Sha256Hash(der, (word32)len_bytes, c.peer.sha256) != 0) {
		snprintf(fault, CERT_FAULT_BYTES, "can not be hashed");
		goto out;
	}
	cert_copy_text(c.subject, sizeof(c.subject), dc.subject, strnlen(dc.subject, sizeof(dc.subject)));
	cert_copy_text(c.issuer, sizeof(c.issuer), dc.issuer, strnlen(dc.issuer, sizeof(dc.issuer)));
	cert_read_serial(&dc, c.peer.serial, sizeof(c.peer.serial));
	c.is_authority = dc.isCA && (!dc.extKeyUsageSet || (dc.extKeyUsage & KEYUSE_KEY_CERT_SIGN));
	c.has_server_usage = dc.extExtKeyUsageSet && (dc.extExtKeyUsage & EXTKEYUSE_SERVER_AUTH);
	c.has_client_usage = dc.extExtKeyUsageSet && (dc.extExtKeyUsage & EXTKEYUSE_CLIENT_AUTH);
	memcpy(c.subject_hash, dc.subjectHash, CERT_ID_BYTES);
	memcpy(c.issuer_hash, dc.issuerHash, CERT_ID_BYTES);
	c.is_self_issued = memcmp(c.subject_hash, c.issuer_hash, CERT_ID_BYTES) == 0;
	c.has_subject_key_id = dc.extSubjKeyIdSet;
	c.has_issuer_key_id = dc.extAuthKeyIdSet;
	memcpy(c.subject_key_id, dc.extSubjKeyId, CERT_ID_BYTES);
	memcpy(c.issuer_key_id, dc.extAuthKeyId, CERT_ID_BYTES);
	r = cert_read_names(&dc, &c.peer, fault);
	*ret = c;
out:
	wc_FreeDecodedCert(&dc);
	return r;
}

bool cert_is_issued_by(const struct cert *child, const struct cert *authority)
{
	if (memcmp(child->issuer_hash, authority->subject_hash, CERT_ID_BYTES) != 0)
		return false;
	if (child->has_issuer_key_id && authority->has_subject_key_id)
		return memcmp(child->issuer_key_id, authority->subject_key_id, CERT_ID_BYTES) == 0;
	return true;
}

const char *cert_time_text(int64_t time_s, char text[CERT_TIME_BYTES])
{
	time_t t = (time_t)time_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(text, CERT_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(text, CERT_TIME_BYTES, "%lld", (long long)time_s);
	return text;
}

const char *cert_name_text(const struct tls_name *name, char text[CERT_NAME_TEXT_BYTES])
{
	memcpy(text, name->type == TLS_NAME_URI ? "URI:" : "DNS:", 4);
	cert_copy_text(text + 4, CERT_NAME_TEXT_BYTES - 4, name->text, strnlen(name->text, TLS_NAME_BYTES));
	return text;
}
