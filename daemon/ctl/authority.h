/* SPDX-License-Identifier: GPL-3.0-or-later */
/* authority.h - the command "ca": a trial authority in a folder.
 * One thread. */
#ifndef CULVERT_CTL_AUTHORITY_H
#define CULVERT_CTL_AUTHORITY_H

#define AUTHORITY_NAME_DEFAULT "URI:spiffe://cluster.local/ns/culvert/node/{node}"

/* argv[0] is "init" or "issue". Returns an exit status. */
int authority_run(int argc, char **argv);

#endif
