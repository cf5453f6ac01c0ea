#!/bin/busybox sh
# SPDX-License-Identifier: GPL-3.0-or-later
# initrd.sh - the first program in a guest: finds its disks (the root, the kernel's modules, what is tested) and hands over to inside/init.sh.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
while read -r module; do
	busybox insmod "/lib/modules/$module" || echo "initrd: $module is not loaded"
done < /lib/modules/order
for disk in vda vdb vdc; do
	# The driver finds them one after the other.
	tries=0
	until [ -b "/dev/$disk" ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 500 ] || { echo "initrd: there is no disk $disk"; busybox poweroff -f; }
		busybox usleep 20000
	done
done
release=$(busybox uname -r)
busybox mount -t ext4 /dev/vda /root &&
	busybox mkdir -p /root/lib/modules &&
	busybox mount -t ext4 -o ro /dev/vdb /root/lib/modules &&
	busybox mount -t ext4 -o ro /dev/vdc /root/culvert || { echo "initrd: the disks can not be mounted"; busybox poweroff -f; }
[ -e "/root/lib/modules/$release" ] || echo "initrd: the disk has no modules of $release"
busybox umount /proc
busybox mount --move /dev /root/dev
exec busybox switch_root /root /culvert/tests/guest/inside/init.sh
