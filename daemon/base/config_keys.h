/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config_keys.h - the table of the start-up settings: each key's name, form, default and place in struct config. A new setting is a line there
 * and a field. For config*.c alone; nothing here changes, so any thread may read it. */
#ifndef CULVERT_BASE_CONFIG_KEYS_H
#define CULVERT_BASE_CONFIG_KEYS_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_KUBERNETES "nodes.kubernetes" /* the one section in a section */

enum {
	CONFIG_DOTTED_BYTES = 64,
	CONFIG_FORM_BYTES = 160,
	CONFIG_MEASURE_BYTES = 24,
};

enum config_kind {
	CONFIG_IS_NODE,
	CONFIG_IS_RUNTIME, /* a path whose last part also names a folder in the bpffs */
	CONFIG_IS_PATH,
	CONFIG_IS_NAME, /* of an object in Kubernetes */
	CONFIG_IS_SIGNER,
	CONFIG_IS_TEXT,
	CONFIG_IS_NUMBER,
	CONFIG_IS_DURATION,
	CONFIG_IS_SIZE,
	CONFIG_IS_CHOICE,
	CONFIG_IS_DEVICES,
	CONFIG_IS_PREFIXES,
	CONFIG_IS_EXCLUDES,
	CONFIG_IS_LISTEN,
	CONFIG_IS_MAP, /* a section in a section; its keys stand behind it */
};

struct config_choice {
	const char *text;
	int value;
};

struct config_key {
	const char *section; /* "": none */
	const char *name;
	enum config_kind kind;
	size_t offset;
	size_t cap_bytes;                    /* of texts */
	uint64_t min, max;                   /* of numbers, durations (ms) and sizes (bytes) */
	const struct config_choice *choices; /* ended by a text of NULL */
	const char *standard;                /* the default as it would be written; NULL: it must be given */
	bool may_be_empty;                   /* of texts: "" says something */
	const char *about;
};

struct config_unit {
	const char *text;
	uint64_t factor;
};

/* Largest first; ended by a text of NULL. Milliseconds, and bytes. */
extern const struct config_unit config_durations[], config_sizes[];

/* Those of one section follow each other. */
extern const struct config_key config_keys[];
extern const size_t config_keys_count; /* at most CONFIG_KEYS_MAX */

/* NULL: there is no such key. */
const struct config_key *config_key_find(const char *section, const char *name);
bool config_is_section(const char *name);
/* The words that can stand in a section, or at the top for "". Returns how many. */
size_t config_words_of(const char *section, const char *words[CONFIG_KEYS_MAX]);

/* "tunnel.port". Returns text. */
const char *config_dotted(const struct config_key *k, char text[CONFIG_DOTTED_BYTES]);
/* What would be right for a key, to stand in a sentence: "a number from 1 to 65535". Returns text, or a constant. */
const char *config_form(const struct config_key *k, char text[CONFIG_FORM_BYTES]);
/* "30s": by the largest unit that loses nothing. Returns text. */
const char *config_print_measure(uint64_t value, const struct config_unit *units, char text[CONFIG_MEASURE_BYTES]);

#endif
