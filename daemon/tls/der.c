/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/der.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/asn.h>

#include <string.h>
#include <time.h>

size_t der_len(const struct der *d)
{
	return d->cap_bytes - d->at;
}

void der_put(struct der *d, const void *bytes, size_t len_bytes)
{
	if (len_bytes > d->at) {
		d->is_full = true;
		return;
	}
	d->at -= len_bytes;
	memcpy(d->bytes + d->at, bytes, len_bytes);
}

void der_wrap(struct der *d, uint8_t tag, size_t before_bytes)
{
	size_t n = der_len(d) - before_bytes;
	uint8_t head[6];
	size_t len = 0, length_bytes = 0;

	head[len++] = tag;
	if (n < 0x80) {
		head[len++] = (uint8_t)n;
	} else {
		for (size_t rest = n; rest; rest >>= 8)
			length_bytes++;
		head[len++] = (uint8_t)(0x80 | length_bytes);
		for (size_t i = length_bytes; i-- > 0;)
			head[len++] = (uint8_t)(n >> (8 * i));
	}
	der_put(d, head, len);
}

void der_put_value(struct der *d, uint8_t tag, const void *bytes, size_t len_bytes)
{
	size_t before = der_len(d);

	der_put(d, bytes, len_bytes);
	der_wrap(d, tag, before);
}

void der_put_integer(struct der *d, const uint8_t *big, size_t len_bytes)
{
	static const uint8_t zero;
	size_t before = der_len(d);

	while (len_bytes > 1 && *big == 0) {
		big++;
		len_bytes--;
	}
	der_put(d, big, len_bytes);
	if (len_bytes && (big[0] & 0x80))
		der_put(d, &zero, 1);
	der_wrap(d, ASN_INTEGER, before);
}

size_t der_time(int64_t time_s, uint8_t ret[DER_TIME_BYTES])
{
	time_t t = (time_t)time_s;
	struct tm tm = { 0 };
	char text[DER_TIME_BYTES];
	bool is_utc;
	size_t n;

	gmtime_r(&t, &tm);
	is_utc = tm.tm_year < 150;
	n = strftime(text, sizeof(text), is_utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
	ret[0] = is_utc ? ASN_UTC_TIME : ASN_GENERALIZED_TIME;
	ret[1] = (uint8_t)n;
	memcpy(ret + 2, text, n);
	return n + 2;
}

bool der_take(struct der_reader *r, struct der_element *ret)
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
	*ret = (struct der_element){
		.tag = r->at[0], .whole = r->at, .whole_len_bytes = head + len, .content = r->at + head, .content_len_bytes = len
	};
	r->at += head + len;
	r->left -= head + len;
	return true;
}

bool der_enter(struct der_reader *r, uint8_t tag, struct der_reader *ret)
{
	struct der_element e;

	if (!der_take(r, &e) || e.tag != tag)
		return false;
	*ret = (struct der_reader){ e.content, e.content_len_bytes };
	return true;
}
