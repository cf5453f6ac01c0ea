#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# image.sh [--build FOLDER] [--output FILE] [--name NAME:TAG] - the container image of the daemon, its tool and its issuer, as an OCI archive.
#
# It holds the programs of a build, the shared libraries that they load, out of the Debian packages installed here, and these packages' names and licences where
# scanners look for them; no shell, no package manager. No registry and no container engine is asked. The same build gives the same bytes.
#
#   --build FOLDER    where the programs were built (build/release; built now if there is none)
#   --output FILE     build/culvert-VERSION-ARCHITECTURE.tar
#   --name NAME:TAG   what the archive says that the image is called (localhost/culvert:RELEASE, what the chart asks for by itself: nobody's registry is
#                     meant by it, so that it is never taken from a stranger's)
#
# The image is of the architecture of this machine: libraries are found through the build's own programs. SOURCE_DATE_EPOCH is the time of all files in it; by
# default the time of the last commit.
set -eu
set -o pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PROGRAMS=(sbin/culvertd bin/culvertctl sbin/culvert-issuer)

die()
{
	echo "image.sh: $*" >&2
	exit 1
}

build= output= name=
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		sed -n '3,15s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	--build | --output | --name)
		[ $# -ge 2 ] || die "$1 needs a value"
		printf -v "${1#--}" %s "$2"
		shift 2
		;;
	*) die "\"$1\" is no option; there are --build, --output and --name" ;;
	esac
done

for tool in dpkg-query ldd strip tar gzip; do
	command -v "$tool" > /dev/null || die "$tool is missing"
done
if [ -z "$build" ]; then
	build=$ROOT/build/release
	(cd "$ROOT" && cmake --preset release > /dev/null && cmake --build --preset release > /dev/null) || die "the build failed: cmake --build --preset release"
fi
[ -x "$build/culvertd" ] || die "$build has no culvertd"
version=$("$build/culvertd" --version)
version=${version##* }
[ -n "$output" ] || output=$ROOT/build/culvert-$version-$(dpkg --print-architecture).tar
# A tag takes no "+", which begins what tells builds of one release apart.
[ -n "$name" ] || name=localhost/culvert:${version%%+*}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct 2> /dev/null || echo 0)}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
umask 022
mkdir -p "$root"/usr/{bin,sbin,lib,lib64,share/doc} "$root"/{etc,run,tmp,proc,sys,dev,var/lib/dpkg/status.d}
for folder in bin sbin lib lib64; do
	ln -s "usr/$folder" "$root/$folder"
done

programs=()
for program in "${PROGRAMS[@]}"; do
	[ -x "$build/${program##*/}" ] || continue
	strip -o "$root/usr/$program" "$build/${program##*/}"
	programs+=("$build/${program##*/}")
done

# The linker's own name is a line without an arrow; what the kernel provides has no file.
libraries()
{
	ldd "${programs[@]}" | sed -n -e 's/.* => \(\/[^ ]*\) .*/\1/p' -e 's/^\s*\(\/[^ :]*\) (.*/\1/p' | sort -u
}

# package FILE: the package whose file it is. The package's list may name it in the folder before the merge of / and /usr.
package()
{
	local file

	for file in "$(realpath "$1")" "$1"; do
		file=/${file#/usr/}
		file=/${file#/}
		dpkg-query -S "$file" 2> /dev/null || dpkg-query -S "/usr$file" 2> /dev/null || continue
		return
	done | head -n 1 | cut -d : -f 1
}

! ldd "${programs[@]}" | grep 'not found' || die "the programs of $build do not find these libraries here"
packages=()
for file in $(libraries); do
	owner=$(package "$file")
	[ -n "$owner" ] || die "$file belongs to no package: an image of unknown parts is not made"
	packages+=("$owner")
	target=$root/usr/${file#/usr}
	mkdir -p "$(dirname "$target")"
	cp -L "$file" "$target"
done
for owner in $(printf '%s\n' "${packages[@]}" | sort -u); do
	dpkg-query -s "$owner" > "$root/var/lib/dpkg/status.d/$owner"
	mkdir -p "$root/usr/share/doc/$owner"
	cp -L "/usr/share/doc/$owner/copyright" "$root/usr/share/doc/$owner/"
done
mkdir -p "$root/usr/share/doc/culvert"
cp "$ROOT/LICENSE" "$root/usr/share/doc/culvert/"
cp -L /etc/os-release "$root/usr/lib/os-release"
ln -s ../usr/lib/os-release "$root/etc/os-release"
echo 'root:x:0:0:root:/:/nonexistent
nobody:x:65534:65534:nobody:/:/nonexistent' > "$root/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' > "$root/etc/group"
chmod 755 "$root"
chmod 1777 "$root/tmp"

mkdir -p "$(dirname "$output")"
OCI_ARCH=$(dpkg --print-architecture) OCI_LABELS="org.opencontainers.image.title=culvert
org.opencontainers.image.version=$version
org.opencontainers.image.licenses=GPL-3.0-or-later" "$ROOT/deploy/oci.sh" "$root" "$output" "$name" /usr/sbin/culvertd
echo "$output: $name for $(dpkg --print-architecture), $(du -sk "$root" | cut -f 1) KiB of files, $(($(stat -c %s "$output") / 1024)) KiB as an archive"
