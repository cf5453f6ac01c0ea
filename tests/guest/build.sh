#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# build.sh [PIECE...] - makes what the tests in guests boot, once per machine, into $CULVERT_CACHE (~/.cache/culvert), and prints the folders. Without
# arguments all pieces.
#
#   5.10, 6.1, 6.12  a kernel of Debian's for clouds: vmlinuz, an initrd that finds the disks, and a disk with its modules
#   root             a disk with the programs that the tests use inside: those packages as they are installed here, and a container runtime with
#                    AppArmor's tools, which are not installed, since they would start here
#
# A folder is named after what is in it and appears whole or not at all; a lock keeps builds that run at the same time apart. Exit status 77:
# something can not be fetched here.
set -eu
set -o pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/lib/debian.sh"

SUITE=bookworm
declare -A KERNEL_SUITES=([5.10]=bullseye [6.1]=bookworm [6.12]=trixie)
# What the initrd needs to find the disks; all else is loaded as it is asked for, out of the disk with the modules.
DISK_MODULES=(virtio_pci virtio_blk ext4 crc32c_generic)
INSTALLED=(bash coreutils grep sed mount util-linux procps python3 python3-pytest python3-cryptography iproute2 iptables nftables tcpdump conntrack
	ethtool socat bpftool openssl busybox-static iputils-ping libelf1 libbpf1 libnl-3-200 libnl-route-3-200 libmicrohttpd12 libyaml-0-2
	libprotobuf-c1 libcurl4 libipsec-mb1 ca-certificates)
EXTRACTED=(kmod libkmod2 libseccomp2 apparmor runc containerd)
# Raised when a recipe below changes, so that older results are not taken for it.
KERNEL_RECIPE=1 ROOT_RECIPE=2

CACHE=${CULVERT_CACHE:-${HOME:?}/.cache/culvert}

die()
{
	echo "build.sh: $*" >&2
	exit 1
}

# make_disk FOLDER FILE SPARE_MB: an ext4 file system with what is in the folder, and room for more.
make_disk()
{
	local size

	size=$(du -sm --apparent-size "$1" | cut -f 1)
	rm -f "$2"
	mke2fs -q -F -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$1" "$2" "$((size + size / 8 + $3))M" > /dev/null
}

# module_files MODULES_FOLDER MODULE...: the files of these modules and of all that they need, what is needed first; built-in ones have none.
module_files()
{
	local modules=$1
	shift

	awk -v wanted="$*" '
		{ file = $1; sub(/:$/, "", file); name = file; sub(/.*\//, "", name); sub(/\.ko.*/, "", name); gsub(/-/, "_", name)
		  path[name] = file; line = ""; for (i = NF; i > 1; i--) line = line " " $i; needs[name] = line }
		END { n = split(wanted, names, " ")
		      for (i = 1; i <= n; i++) { if (!(names[i] in path)) continue
		          m = split(needs[names[i]], files, " "); for (j = 1; j <= m; j++) if (!(files[j] in seen)) { seen[files[j]] = 1; print files[j] }
		          if (!(path[names[i]] in seen)) { seen[path[names[i]]] = 1; print path[names[i]] } } }' "$modules/modules.dep"
}

build_kernel()
{
	local kernel=$1 folder=$2 suite=${KERNEL_SUITES[$1]} work=$2.work package release modules file

	mkdir -p "$work/debs"
	debian_lists "$work" $(printf 'deb:%s\n' "$suite" "$SUITE" | sort -u)
	rm -rf "$work"/{kernel,tools,initrd,disk} "$folder.new"
	debian_extract "$work" "$work/tools" "kmod/$SUITE" "libkmod2/$SUITE"
	debian_extract "$work" "$work/kernel" "linux-image-cloud-amd64/$suite"
	package=$(dpkg-deb -f "$work/debs"/linux-image-cloud-amd64_*.deb Depends | grep -o 'linux-image-[^ ,]*' | head -n 1)
	debian_extract "$work" "$work/kernel" "$package/$suite"
	release=${package#linux-image-}
	case $release in
	"$kernel".*) ;;
	*) die "$suite's kernel is $release and not $kernel" ;;
	esac

	mkdir -p "$folder.new" "$work/disk" "$work"/initrd/{bin,dev,proc,root,lib/modules}
	cp "$work/kernel/boot/vmlinuz-$release" "$folder.new/vmlinuz"
	modules=$(find "$work/kernel" -type d -path "*/lib/modules/$release")
	cp -a "$modules" "$work/disk/"
	modules=$work/disk/$release
	mkdir -p "$work/depmod/lib/modules"
	ln -sfn "$modules" "$work/depmod/lib/modules/$release"
	# One program of many names.
	ln -sf "$work/tools/bin/kmod" "$work/tools/depmod"
	LD_LIBRARY_PATH=$(dirname "$(find "$work/tools" -name libkmod.so.2)") "$work/tools/depmod" -b "$work/depmod" "$release"
	make_disk "$work/disk" "$folder.new/modules.img" 4

	cp /bin/busybox "$work/initrd/bin/"
	for file in $(module_files "$modules" "${DISK_MODULES[@]}"); do
		cp "$modules/$file" "$work/initrd/lib/modules/"
		file=$work/initrd/lib/modules/${file##*/}
		case $file in
		*.xz) xz -d "$file" ;;
		esac
		file=${file%.xz}
		echo "${file##*/}" >> "$work/initrd/lib/modules/order"
	done
	cp "$ROOT/tests/guest/initrd.sh" "$work/initrd/init"
	chmod 755 "$work/initrd/init"
	(cd "$work/initrd" && find . | busybox cpio -o -H newc 2> /dev/null | gzip -1) > "$folder.new/initrd"
	echo "$release" > "$folder.new/release"
	mv "$folder.new" "$folder"
	rm -rf "$work"
}

# installed_files PACKAGE...: the files of packages that are installed here and of all that they depend on, without what only people read.
installed_files()
{
	local package packages

	packages=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
		grep '^[a-z]' | sort -u)
	for package in $packages; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed || continue
		dpkg-query -L "$package"
	done | grep -v -E '^/usr/share/(doc|man|locale|info|lintian|bug|perl|zoneinfo|bash-completion|i18n)/|^/usr/lib/(modules|systemd)/|/__pycache__' | sort -u |
		while read -r file; do
			[ -L "$file" ] || [ ! -d "$file" ] || continue
			[ ! -e "$file" ] && [ ! -L "$file" ] || echo "$file"
		done
}

build_root()
{
	local folder=$1 work=$1.work folder_name

	mkdir -p "$work"
	debian_lists "$work" "deb:$SUITE"
	rm -rf "$work/root" "$folder.new"
	mkdir -p "$work/root"/{usr/bin,usr/sbin,usr/lib,usr/lib64,etc,proc,sys,dev,run,tmp,root,mnt,var/lib,var/tmp,culvert} "$folder.new"
	for folder_name in bin sbin lib lib64; do
		ln -s "usr/$folder_name" "$work/root/$folder_name"
	done
	installed_files "${INSTALLED[@]}" > "$work/files"
	tar -c -C / --no-recursion -T <(sed 's/^\///' "$work/files") | tar -x -C "$work/root" --keep-directory-symlink
	debian_extract "$work" "$work/root" "${EXTRACTED[@]/%//$SUITE}"
	cp -a /etc/{alternatives,passwd,group,nsswitch.conf,os-release,debian_version} "$work/root/etc/"
	ln -sfn ../run/mounts "$work/root/etc/mtab"
	ldconfig -r "$work/root"
	# Compiled here, since it takes an emulated processor long.
	/usr/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$work/root" "$work/root/usr/lib/python3" "$work/root"/usr/lib/python3.* > /dev/null || :
	make_disk "$work/root" "$folder.new/root.img" 400
	mv "$folder.new" "$folder"
	rm -rf "$work"
}

pieces=("$@")
[ ${#pieces[@]} -gt 0 ] || pieces=(5.10 6.1 6.12 root)
mkdir -p "$CACHE"
for piece in "${pieces[@]}"; do
	case $piece in
	root) folder=$CACHE/guest-root-$SUITE-$ROOT_RECIPE ;;
	*)
		[ -n "${KERNEL_SUITES[$piece]:-}" ] || die "there is no piece \"$piece\"; there are ${!KERNEL_SUITES[*]} and root"
		folder=$CACHE/guest-kernel-$piece-$KERNEL_RECIPE
		;;
	esac
	if [ ! -d "$folder" ]; then
		exec 9> "$folder.lock"
		flock 9
		if [ ! -d "$folder" ]; then
			case $piece in
			root) build_root "$folder" ;;
			*) build_kernel "$piece" "$folder" ;;
			esac
		fi
		exec 9>&-
	fi
	echo "$folder"
done
