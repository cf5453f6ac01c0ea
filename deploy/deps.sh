#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# deps.sh [GROUP...] - checks that this machine can run Culvert, and installs what is missing, by package name.
#
# Groups: build, demo, test, kube, guest, fidelity, bench; without any: build. Says nothing where all is there. Where something can not be had it prints one sentence
# and ends with 1. The demo, the tests and the benchmarks call it first.
set -u

BUILD=(cmake ninja-build gcc libc6-dev pkg-config clang bpftool libbpf-dev libnl-3-dev libnl-route-3-dev libprotobuf-c-dev protobuf-c-compiler
	libmicrohttpd-dev libyaml-dev libcurl4-openssl-dev ca-certificates)
# Intel's multi-buffer library is packaged for its own processors alone; elsewhere wolfCrypt does its work.
[ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ] || BUILD+=(libipsec-mb-dev)
DEMO=(iproute2 iptables nftables nginx-light curl tcpdump iperf3 procps util-linux)
TEST=(git libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-cryptography iproute2 iptables nftables nginx-light curl tcpdump iperf3 haproxy
	socat conntrack ethtool iputils-ping procps util-linux openssl libclang-rt-dev llvm clang-format clang-tidy)
KUBE=(python3-yaml busybox-static rsync make gcc libc6-dev binutils dpkg-dev strace openssl)
GUEST=(qemu-system-x86 e2fsprogs busybox-static xz-utils binutils)
# The programs of tests/fidelity as they are packaged; all are started in namespaces, by the test.
FIDELITY=(postgresql postgresql-contrib redis-server redis-tools nginx-light nghttp2-client curl openssh-server openssh-client rsync iperf3 vsftpd lftp postfix
	mariadb-server mariadb-client python3-websockets)
BENCH=(iproute2 iputils-ping iperf3 wrk nginx-light haproxy libnginx-mod-stream stunnel4 wireguard-tools procps util-linux openssl python3)

die()
{
	echo "deps.sh: $*" >&2
	exit 1
}

wanted=()
for group in "${@:-build}"; do
	case $group in
	build) wanted+=("${BUILD[@]}") ;;
	demo) wanted+=("${DEMO[@]}") ;;
	test) wanted+=("${TEST[@]}") ;;
	kube) wanted+=("${KUBE[@]}") ;;
	guest) wanted+=("${GUEST[@]}") ;;
	fidelity) wanted+=("${FIDELITY[@]}") ;;
	bench) wanted+=("${BENCH[@]}") ;;
	*) die "there is no group \"$group\"; there are build, demo, test, kube, guest, fidelity and bench" ;;
	esac
done

[ "$(uname -s)" = Linux ] || die "Culvert runs on Linux; this is $(uname -s)."

release=$(uname -r)
major=${release%%.*}
minor=${release#*.}
minor=${minor%%[!0-9]*}
if [ "$major" -lt 5 ] || { [ "$major" -eq 5 ] && [ "${minor:-0}" -lt 10 ]; }; then
	die "Culvert needs Linux 5.10 or later; this is $release."
fi

[ "$(id -u)" -eq 0 ] || die "this must run as root: it makes network namespaces and loads BPF programs."

[ -r /sys/kernel/btf/vmlinux ] || die "the kernel has no type information: /sys/kernel/btf/vmlinux is missing (CONFIG_DEBUG_INFO_BTF)."

# A package counts as there when it is installed, or when another one that is installed provides it.
missing()
{
	local name

	for name in "${wanted[@]}"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
	done | sort -u
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
	die "packages are installed by apt, which this system lacks; install by hand: $(printf '%s\n' "${wanted[@]}" | sort -u | xargs)"

mapfile -t lacking < <(missing)
[ ${#lacking[@]} -gt 0 ] || exit 0

log=$(mktemp)
policy=
cleanup()
{
	rm -f "$log"
	[ -z "$policy" ] || rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Servers that come as packages are not to be started here: the tests start their own, in namespaces.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' > "$policy"
	chmod 755 "$policy"
fi

install()
{
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${lacking[@]}" > "$log" 2>&1 < /dev/null
}

echo "deps.sh: installing ${lacking[*]}" >&2
if ! install; then
	# Package lists are missing, or older than the mirror.
	if ! apt-get update -q -o APT::Update::Error-Mode=any > "$log" 2>&1 < /dev/null; then
		grep -E '^(E|W|Err)' "$log" | head -n 5 >&2
		die "no package registry can be reached (apt-get update failed), and these packages are missing: ${lacking[*]}"
	fi
	if ! install; then
		grep -E '^(E|dpkg)' "$log" | head -n 5 >&2
		die "apt-get could not install: ${lacking[*]}"
	fi
fi

for name in nginx haproxy stunnel4 postgresql redis-server vsftpd postfix rsync mariadb ssh; do
	package=$name
	[ "$name" != ssh ] || package=openssh-server
	case " ${lacking[*]} " in
	*" $package"*) command -v deb-systemd-helper >/dev/null && deb-systemd-helper disable "$name.service" > /dev/null 2>&1 ;;
	esac
done

mapfile -t lacking < <(missing)
[ ${#lacking[@]} -eq 0 ] || die "these packages are still missing: ${lacking[*]}"
