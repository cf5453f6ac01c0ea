/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/table.h"

#include "ctl/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 16, GAP = 2 };

struct table {
	char *headings; /* cut into words */
	size_t columns;
	struct {
		const char *heading;
		bool is_right;
	} column[COLUMNS_MAX];
	char **cells;
	size_t count, cap;
};

struct table *table_create(const char *headings)
{
	struct table *t = calloc(1, sizeof(*t));
	char *save = NULL;

	if (!t)
		return NULL;
	t->headings = strdup(headings);
	if (!t->headings) {
		free(t);
		return NULL;
	}
	for (char *word = strtok_r(t->headings, " ", &save); word && t->columns < COLUMNS_MAX; word = strtok_r(NULL, " ", &save)) {
		size_t len = strlen(word);

		t->column[t->columns].is_right = word[len - 1] == '>';
		if (t->column[t->columns].is_right)
			word[len - 1] = '\0';
		for (char *p = word; *p; p++) {
			if (*p == '_')
				*p = ' ';
		}
		t->column[t->columns++].heading = word;
	}
	return t;
}

void table_destroy(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->headings);
	free(t);
}

void table_add(struct table *t, const char *text)
{
	char *copy = strdup(text ? text : "");

	if (!copy)
		return;
	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **cells = reallocarray(t->cells, cap, sizeof(*cells));

		if (!cells) {
			free(copy);
			return;
		}
		t->cells = cells;
		t->cap = cap;
	}
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	t->cells[t->count++] = copy;
}

size_t table_rows(const struct table *t)
{
	return t->columns ? (t->count + t->columns - 1) / t->columns : 0;
}

static const char *cell_text(const struct table *t, size_t row, size_t column)
{
	size_t at = row * t->columns + column;

	return at < t->count && t->cells[at][0] ? t->cells[at] : "-";
}

/* 0: nothing is in it. */
static size_t column_width(const struct table *t, size_t column)
{
	size_t width = utf8_width(t->column[column].heading);
	bool is_empty = t->count > 0;

	for (size_t row = 0; row < table_rows(t); row++) {
		const char *text = cell_text(t, row, column);
		size_t w = utf8_width(text);

		if (w > width)
			width = w;
		if (strcmp(text, "-") != 0)
			is_empty = false;
	}
	return is_empty ? 0 : width;
}

static void print_cell(FILE *out, const char *text, size_t width, bool is_right, bool is_last)
{
	int pad = (int)(width - utf8_width(text));

	if (is_right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, is_last ? 0 : pad, ""); /* no blanks at a line's end */
	if (!is_last)
		fprintf(out, "%*s", GAP, "");
}

void table_print(const struct table *t, FILE *out)
{
	size_t width[COLUMNS_MAX], last = 0;

	for (size_t c = 0; c < t->columns; c++) {
		width[c] = column_width(t, c);
		if (width[c])
			last = c;
	}
	for (size_t c = 0; c < t->columns; c++) {
		if (width[c])
			print_cell(out, t->column[c].heading, width[c], t->column[c].is_right, c == last);
	}
	fputc('\n', out);
	for (size_t row = 0; row < table_rows(t); row++) {
		for (size_t c = 0; c < t->columns; c++) {
			if (width[c])
				print_cell(out, cell_text(t, row, c), width[c], t->column[c].is_right, c == last);
		}
		fputc('\n', out);
	}
}
