/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/late.h"

/* RFC 8446, 4 */
enum { LATE_TICKET_TYPE = 4 };

static enum late_result head_judge(struct late *l, bool takes_tickets)
{
	l->left = (uint32_t)l->head[1] << 16 | (uint32_t)l->head[2] << 8 | l->head[3];
	if (l->head[0] == LATE_KEY_UPDATE_TYPE)
		return l->left == 1 ? LATE_NOTHING : LATE_UNDECODABLE;
	if (l->head[0] != LATE_TICKET_TYPE || !takes_tickets)
		return LATE_UNEXPECTED;
	return l->left >= 1 && l->left <= LATE_TICKET_MAX ? LATE_NOTHING : LATE_UNDECODABLE;
}

/* The one byte of a key update, which must be its record's last: the next record has other keys. */
static enum late_result key_update_judge(uint8_t value, bool is_last)
{
	if (value > 1)
		return LATE_ILLEGAL;
	if (!is_last)
		return LATE_UNEXPECTED;
	return value ? LATE_KEY_UPDATE_REQUESTED : LATE_KEY_UPDATE;
}

enum late_result late_take(struct late *l, const uint8_t *bytes, size_t len_bytes, bool takes_tickets)
{
	while (len_bytes) {
		size_t n;

		if (l->head_bytes < LATE_HEAD_BYTES) {
			enum late_result r;

			l->head[l->head_bytes++] = *bytes++;
			len_bytes--;
			if (l->head_bytes < LATE_HEAD_BYTES)
				continue;
			r = head_judge(l, takes_tickets);
			if (r != LATE_NOTHING)
				return r;
			continue;
		}
		if (l->head[0] == LATE_KEY_UPDATE_TYPE) {
			l->head_bytes = 0;
			return key_update_judge(*bytes, len_bytes == 1);
		}
		n = len_bytes < l->left ? len_bytes : l->left;
		l->left -= (uint32_t)n;
		bytes += n;
		len_bytes -= n;
		if (!l->left)
			l->head_bytes = 0;
	}
	return LATE_NOTHING;
}

bool late_is_cut(const struct late *l)
{
	return l->head_bytes > 0;
}
