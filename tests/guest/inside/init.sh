#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# init.sh - the first process of a guest's system: mounts what a machine has, runs the command of the disk with what is tested, and powers off. What it
# prints is the guest's console; the command's exit status goes to the second serial line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CULVERT_DEADLINE_S=240 PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
echo "init: Linux $(uname -r), $(cut -d ' ' -f 1 /proc/uptime) s"
cd /culvert/tests/guest/inside || exit
CULVERT_BIN_DIR=/culvert/bin /bin/bash /culvert/command > /dev/ttyS0 2>&1 < /dev/null
echo "exit $?" > /dev/ttyS1
echo "init: end, $(cut -d ' ' -f 1 /proc/uptime) s"
busybox poweroff -f
