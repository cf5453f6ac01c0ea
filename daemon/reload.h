/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reload.h - what is read from files, at start and again when it changes: the settings, the certificates, the nodes file.
 * Each is read and checked whole before it takes the place of the old one; with any fault the old one stays, and the log and the status say
 * why. Thread: main. */
#ifndef CULVERT_RELOAD_H
#define CULVERT_RELOAD_H

#include "daemon.h"

/* Reads the settings alone, for --remove: certificates and nodes may be gone already. 0, or -errno after one line on standard error. */
int reload_first_settings(struct daemon *d);
/* Reads all of it for the first time and touches nothing else on the machine. 0, or -errno after one line on standard error. With
 * nodes.kubernetes only the settings must be good: certificates may come later, and nodes come from the API server. */
int reload_first(struct daemon *d);
/* Gives back what the two read; half of it too. */
void reload_done(struct daemon *d);

/* Begins to follow the folders of the certificates and of the nodes file. 0 or -errno, logged. */
int reload_start(struct daemon *d);
void reload_stop(struct daemon *d); /* half started too */

/* A view takes the place of the one in force: the kernel first, then the workers. While these have not started it waits for them. 0, or
 * -errno with the old one in force, logged. */
int reload_set_view(struct daemon *d, struct view *v);

/* HUP: settings, nodes and certificates are read again now. */
void reload_now(struct daemon *d);

#endif
