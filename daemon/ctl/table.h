/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.h - rows of text in aligned columns, for people.
 * One thread. */
#ifndef CULVERT_CTL_TABLE_H
#define CULVERT_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct table;

/* headings: one word a column, separated by blanks; a word that ends with '>' is a column that is aligned to the right; '_' prints as a blank.
 * NULL: no memory. */
struct table *table_create(const char *headings);
void table_destroy(struct table *t); /* NULL is welcome */
/* The next cell of the row in hand, left to right, row by row; copies text. An empty one prints as "-". What does not fit into memory is left out. */
void table_add(struct table *t, const char *text);
size_t table_rows(const struct table *t);
/* The headings and all rows. A column in which all cells are empty is left out. Control bytes print as '?': they would reach the terminal. */
void table_print(const struct table *t, FILE *out);

#endif
