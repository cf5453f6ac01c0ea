/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "encode.h"
#include "kube/split.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 5 };

struct taken {
	unsigned metas, items, refused;
	unsigned stop_at; /* the item at which the callback says no; 0: never */
	char seen[512];
};

static void note(struct taken *t, const char *what, struct split_span s)
{
	size_t len = strlen(t->seen);

	(void)snprintf(t->seen + len, sizeof(t->seen) - len, "%s:%.*s ", what, (int)s.len_bytes, (const char *)s.bytes);
}

static bool took_meta(void *ctx, struct split_span s)
{
	struct taken *t = ctx;

	t->metas++;
	note(t, "meta", s);
	return true;
}

static bool took_item(void *ctx, struct split_span s)
{
	struct taken *t = ctx;

	t->items++;
	if (s.len_bytes < 64)
		note(t, "item", s);
	return t->items != t->stop_at;
}

static void was_refused(void *ctx, const char *text)
{
	struct taken *t = ctx;

	t->refused++;
	assert_non_null(strstr(text, "bytes"));
}

static const struct list_split_ops list_ops = { took_meta, took_item, was_refused };

/* A list whose parts are plain words, since the splitter does not look into them. */
static void make_list(struct bytes *ret)
{
	struct bytes list = { 0 };
	char text[32];

	put_text(&list, 1, "M");
	for (int i = 0; i < ITEMS; i++) {
		(void)snprintf(text, sizeof(text), "object %d", i);
		put_text(&list, 2, text);
		if (i == 2) {
			/* Fields that nobody knows, one of each type. */
			put_number(&list, 9, 1234567);
			put_text(&list, 10, "unknown");
			put_varint(&list, 11 << 3 | 1);
			put_raw(&list, "12345678", 8);
			put_varint(&list, 12 << 3 | 5);
			put_raw(&list, "1234", 4);
			put_text(&list, 13, "");
		}
	}
	put_envelope(ret, "v1", "PodList", &list);
}

static const char all_of_it[] = "meta:M item:object 0 item:object 1 item:object 2 item:object 3 item:object 4 ";

static void test_a_list_in_pieces_of_every_size(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	make_list(&b);
	for (size_t piece = 1; piece <= b.len; piece++) {
		struct taken t = { 0 };
		struct list_split s;

		list_split_init(&s, "PodList", &list_ops, &t);
		for (size_t at = 0; at < b.len; at += piece) {
			/* In memory of its own, so that a read behind it is seen. */
			size_t len = piece < b.len - at ? piece : b.len - at;
			uint8_t *copy = malloc(len);

			assert_non_null(copy);
			memcpy(copy, b.data + at, len);
			assert_int_equal(list_split_feed(&s, copy, len), 0);
			free(copy);
		}
		assert_int_equal(list_split_end(&s), 0);
		assert_string_equal(t.seen, all_of_it);
		list_split_done(&s);
	}
	bytes_done(&b);
}

static void test_a_list_that_is_cut_anywhere_is_not_whole(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	make_list(&b);
	/* The last four bytes are the empty contentEncoding and contentType: the list is whole before them. */
	for (size_t len = 0; len < b.len - 4; len++) {
		struct taken t = { 0 };
		struct list_split s;

		list_split_init(&s, "PodList", &list_ops, &t);
		assert_int_equal(list_split_feed(&s, b.data, len), 0);
		assert_int_equal(list_split_end(&s), -EBADMSG);
		assert_non_null(strstr(s.error, "cut off"));
		list_split_done(&s);
	}
	bytes_done(&b);
}

static int feed(const struct bytes *b, struct taken *t, char error[SPLIT_ERROR_BYTES])
{
	struct list_split s;
	int rc;

	list_split_init(&s, "PodList", &list_ops, t);
	rc = list_split_feed(&s, b->data, b->len);
	memcpy(error, s.error, sizeof(s.error));
	list_split_done(&s);
	return rc;
}

static void test_lists_that_lie_are_refused(void **state)
{
	struct bytes list = { 0 }, b = { 0 };
	char error[SPLIT_ERROR_BYTES];
	struct taken t = { 0 };

	(void)state;
	put_raw(&b, "{\"kind\":\"PodList\"}", 18);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	assert_non_null(strstr(error, "protobuf"));

	/* An item that is longer than the list that holds it. */
	bytes_clear(&b);
	put_varint(&list, 2 << 3 | 2);
	put_varint(&list, 100);
	put_raw(&list, "abc", 3);
	put_envelope(&b, "v1", "PodList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	assert_non_null(strstr(error, "100 bytes"));

	/* A length of more than 64 bits. */
	bytes_clear(&b);
	put_varint(&list, 2 << 3 | 2);
	put_raw(&list, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
	put_envelope(&b, "v1", "PodList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);

	/* A number of a field that is 0, and a type that does not exist. */
	bytes_clear(&b);
	put_varint(&list, 2);
	put_envelope(&b, "v1", "PodList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	bytes_clear(&b);
	put_varint(&list, 2 << 3 | 3);
	put_envelope(&b, "v1", "PodList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);

	/* A varint that is cut by the list's end goes on in what surrounds it. */
	bytes_clear(&b);
	put_varint(&list, 9 << 3);
	put_raw(&list, "\x80", 1);
	put_envelope(&b, "v1", "PodList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	assert_int_equal(t.items, 0);
	bytes_done(&b);
}

static void test_a_list_of_another_kind_is_refused(void **state)
{
	struct bytes list = { 0 }, b = { 0 };
	char error[SPLIT_ERROR_BYTES];
	struct taken t = { 0 };

	(void)state;
	put_text(&list, 2, "x");
	put_envelope(&b, "v1", "NodeList", &list);
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	assert_string_equal(error, "the answer is a \"NodeList\" where a PodList was asked for");
	bytes_clear(&b);
	put_raw(&b, "k8s", 4);
	put_text(&b, 2, "list without a type");
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	make_list(&b);
	bytes_clear(&b);
	make_list(&b);
	put_text(&b, 2, "second");
	t = (struct taken){ 0 };
	assert_int_equal(feed(&b, &t, error), -EBADMSG);
	assert_int_equal(t.items, ITEMS);
	bytes_done(&b);
}

static void test_an_object_that_is_too_large_is_skipped_and_said(void **state)
{
	struct bytes list = { 0 }, b = { 0 };
	char *large = calloc(1, SPLIT_OBJECT_MAX_BYTES + 1);
	struct taken t = { 0 };
	struct list_split s;

	(void)state;
	assert_non_null(large);
	put_text(&list, 1, "M");
	put_text(&list, 2, "first");
	put_bytes(&list, 2, large, SPLIT_OBJECT_MAX_BYTES + 1);
	put_bytes(&list, 2, large, SPLIT_OBJECT_MAX_BYTES);
	put_text(&list, 2, "last");
	put_envelope(&b, "v1", "PodList", &list);
	list_split_init(&s, "PodList", &list_ops, &t);
	for (size_t at = 0; at < b.len; at += 1000) {
		assert_int_equal(list_split_feed(&s, b.data + at, b.len - at < 1000 ? b.len - at : 1000), 0);
		assert_true(s.buffer.cap <= SPLIT_OBJECT_MAX_BYTES);
	}
	assert_int_equal(list_split_end(&s), 0);
	assert_int_equal(t.items, 3);
	assert_int_equal(t.refused, 1);
	/* What the large one needed is not kept. */
	assert_true(s.buffer.cap <= 64 << 10);
	list_split_done(&s);
	bytes_done(&b);
	free(large);
}

static void test_a_promised_length_takes_no_memory(void **state)
{
	struct bytes b = { 0 };
	struct taken t = { 0 };
	struct list_split s;

	(void)state;
	put_raw(&b, "k8s", 4);
	put_text(&b, 1, "\x12\x07PodList");
	put_varint(&b, 2 << 3 | 2);
	put_varint(&b, 1 << 30);
	put_varint(&b, 2 << 3 | 2);
	put_varint(&b, SPLIT_OBJECT_MAX_BYTES);
	put_raw(&b, "abc", 3);
	list_split_init(&s, "PodList", &list_ops, &t);
	assert_int_equal(list_split_feed(&s, b.data, b.len), 0);
	assert_true(s.buffer.cap <= 8 << 10);
	list_split_done(&s);
	bytes_done(&b);
}

static void test_the_callback_ends_a_list(void **state)
{
	struct taken t = { .stop_at = 2 };
	char error[SPLIT_ERROR_BYTES];
	struct bytes b = { 0 };

	(void)state;
	make_list(&b);
	assert_int_equal(feed(&b, &t, error), -ECANCELED);
	assert_int_equal(t.items, 2);
	bytes_done(&b);
}

/* ---- Watches ---- */

struct watched {
	unsigned events, refused;
	char seen[512];
};

static bool event_came(void *ctx, enum watch_event type, const struct split_envelope *e)
{
	struct watched *w = ctx;
	size_t len = strlen(w->seen);

	w->events++;
	if (e->object.len_bytes < 64)
		(void)snprintf(w->seen + len, sizeof(w->seen) - len, "%d %.*s %.*s %.*s; ", type, (int)e->api_version.len_bytes,
		               (const char *)e->api_version.bytes, (int)e->kind.len_bytes, (const char *)e->kind.bytes,
		               (int)e->object.len_bytes, (const char *)e->object.bytes);
	return true;
}

static void event_refused(void *ctx, const char *text)
{
	struct watched *w = ctx;

	w->refused++;
	assert_non_null(strstr(text, "an event of"));
}

static const struct watch_split_ops watch_ops = { event_came, event_refused };

static void put_word_event(struct bytes *b, const char *type, const char *word)
{
	struct bytes object = { 0 };

	put_raw(&object, word, strlen(word));
	put_event(b, type, "Pod", &object);
}

static void test_a_watch_in_pieces_of_every_size(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	put_word_event(&b, "ADDED", "a");
	put_word_event(&b, "MODIFIED", "b");
	put_word_event(&b, "DELETED", "c");
	put_word_event(&b, "BOOKMARK", "d");
	put_word_event(&b, "ERROR", "e");
	for (size_t piece = 1; piece <= b.len; piece++) {
		struct watched w = { 0 };
		struct watch_split s;

		watch_split_init(&s, &watch_ops, &w);
		for (size_t at = 0; at < b.len; at += piece) {
			size_t len = piece < b.len - at ? piece : b.len - at;
			uint8_t *copy = malloc(len);

			assert_non_null(copy);
			memcpy(copy, b.data + at, len);
			assert_int_equal(watch_split_feed(&s, copy, len), 0);
			free(copy);
		}
		assert_true(watch_split_is_between(&s));
		assert_string_equal(w.seen, "0 v1 Pod a; 1 v1 Pod b; 2 v1 Pod c; 3 v1 Pod d; 4 v1 Pod e; ");
		watch_split_done(&s);
	}
	bytes_done(&b);
}

static int feed_watch(const void *bytes, size_t len, struct watched *w, char error[SPLIT_ERROR_BYTES])
{
	struct watch_split s;
	int rc;

	watch_split_init(&s, &watch_ops, w);
	rc = watch_split_feed(&s, bytes, len);
	memcpy(error, s.error, sizeof(s.error));
	watch_split_done(&s);
	return rc;
}

static void test_events_that_lie_are_refused(void **state)
{
	char error[SPLIT_ERROR_BYTES];
	struct watched w = { 0 };
	struct bytes b = { 0 };

	(void)state;
	assert_int_equal(feed_watch("\0\0\0\0", 4, &w, error), -EBADMSG);
	/* type: 100 bytes of which 2 are there */
	assert_int_equal(feed_watch("\0\0\0\4\x0a\x64xx", 8, &w, error), -EBADMSG);
	assert_string_equal(error, "an event of 4 bytes can not be read");
	/* A type and no object. */
	assert_int_equal(feed_watch("\0\0\0\7\x0a\5ADDED", 11, &w, error), -EBADMSG);
	assert_string_equal(error, "the object of an event of 7 bytes can not be read");
	put_word_event(&b, "EATEN", "a");
	assert_int_equal(feed_watch(b.data, b.len, &w, error), -EBADMSG);
	assert_string_equal(error, "an event of the type \"EATEN\", which is not known");
	assert_int_equal(w.events, 0);
	bytes_done(&b);
}

static void test_an_event_that_is_too_large_is_skipped_and_said(void **state)
{
	char *large = calloc(1, SPLIT_OBJECT_MAX_BYTES + (8 << 10));
	struct bytes b = { 0 }, object = { 0 };
	struct watched w = { 0 };
	struct watch_split s;

	(void)state;
	assert_non_null(large);
	put_raw(&object, large, SPLIT_OBJECT_MAX_BYTES + (8 << 10));
	put_event(&b, "ADDED", "Pod", &object);
	put_raw(&object, large, SPLIT_OBJECT_MAX_BYTES);
	put_event(&b, "ADDED", "Pod", &object);
	put_word_event(&b, "DELETED", "c");
	watch_split_init(&s, &watch_ops, &w);
	for (size_t at = 0; at < b.len; at += 4000)
		assert_int_equal(watch_split_feed(&s, b.data + at, b.len - at < 4000 ? b.len - at : 4000), 0);
	assert_int_equal(w.refused, 1);
	assert_int_equal(w.events, 2);
	assert_string_equal(w.seen, "2 v1 Pod c; ");
	assert_true(s.buffer.cap <= 64 << 10);
	watch_split_done(&s);
	bytes_done(&b);
	free(large);
}

static void test_an_event_that_is_cut_is_not_between(void **state)
{
	struct watched w = { 0 };
	struct bytes b = { 0 };

	(void)state;
	put_word_event(&b, "ADDED", "a");
	for (size_t len = 1; len < b.len; len++) {
		struct watch_split s;

		watch_split_init(&s, &watch_ops, &w);
		assert_int_equal(watch_split_feed(&s, b.data, len), 0);
		assert_false(watch_split_is_between(&s));
		watch_split_done(&s);
	}
	assert_int_equal(w.events, 0);
	bytes_done(&b);
}

static void test_envelopes(void **state)
{
	struct bytes b = { 0 }, object = { 0 };
	struct split_envelope e = { 0 };

	(void)state;
	put_raw(&object, "the object", 10);
	put_envelope(&b, "apps/v1", "DaemonSet", &object);
	assert_int_equal(split_envelope(b.data, b.len, &e), 0);
	assert_true(split_span_is(e.api_version, "apps/v1"));
	assert_true(split_span_is(e.kind, "DaemonSet"));
	assert_true(split_span_is(e.object, "the object"));
	assert_false(split_span_is(e.kind, "Daemon"));
	for (size_t len = 0; len < 4; len++)
		assert_int_equal(split_envelope(b.data, len, &e), -EBADMSG);
	assert_int_equal(split_envelope("k8s\0\x12\x05"
	                                "abc",
	                                9, &e),
	                 -EBADMSG);
	assert_int_equal(split_envelope("k8s\0\x0a\x03\x12\x05"
	                                "a",
	                                9, &e),
	                 -EBADMSG);
	assert_int_equal(split_envelope("k8s", 4, &e), 0);
	assert_int_equal(e.object.len_bytes, 0);
	bytes_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_list_in_pieces_of_every_size),
		cmocka_unit_test(test_a_list_that_is_cut_anywhere_is_not_whole),
		cmocka_unit_test(test_lists_that_lie_are_refused),
		cmocka_unit_test(test_a_list_of_another_kind_is_refused),
		cmocka_unit_test(test_an_object_that_is_too_large_is_skipped_and_said),
		cmocka_unit_test(test_a_promised_length_takes_no_memory),
		cmocka_unit_test(test_the_callback_ends_a_list),
		cmocka_unit_test(test_a_watch_in_pieces_of_every_size),
		cmocka_unit_test(test_events_that_lie_are_refused),
		cmocka_unit_test(test_an_event_that_is_too_large_is_skipped_and_said),
		cmocka_unit_test(test_an_event_that_is_cut_is_not_between),
		cmocka_unit_test(test_envelopes),
	};

	return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
