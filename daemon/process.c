/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void process_fill(struct snapshot_process *ret)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	char line[128] = "", *resident;
	struct rusage usage;
	struct rlimit files;
	struct stat st;

	*ret = (struct snapshot_process){ 0 };
	/* Pages: all, then what is resident. */
	if (statm && fgets(line, sizeof(line), statm)) {
		(void)strtoull(line, &resident, 10);
		ret->resident_bytes = strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
	}
	if (statm)
		(void)fclose(statm);
	if (!getrusage(RUSAGE_SELF, &usage))
		ret->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		              (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	if (!getrlimit(RLIMIT_NOFILE, &files))
		ret->max_fds = files.rlim_cur;
	/* Since Linux 6.2 the folder's size; listing a hundred thousand of them would hold up the main thread. */
	if (!stat("/proc/self/fd", &st))
		ret->open_fds = (uint64_t)st.st_size;
}
