#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# build.sh [PIECE...] - builds what the tests on Kubernetes need that no package of the distribution holds, once per machine, into $CULVERT_CACHE
# (~/.cache/culvert), and prints the folders. Without arguments all pieces.
#
#   kubernetes  kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl and the pause program, from Debian's source
#               package, which still holds the whole tree; by the Go release that belongs to it. About 8 minutes of two cores, 2.5 GB meanwhile.
#   node        etcd, containerd, runc and the CNI plug-ins, out of Debian's packages; not installed, since they would start and meet others.
#   helm        the real Helm, a Go module. About 2 minutes; by the Go of this machine, or where that is missing or too old, by a later Debian's.
#
# A folder is named after what is in it and appears whole or not at all. A lock keeps builds that run at the same time apart; what was cut off, or failed,
# keeps its work folder with what was fetched and compiled, but begins from a fresh source. Packages that are missing are installed first (deploy/deps.sh
# kube). Exit status 77: something can not be fetched here.
set -eu
set -o pipefail

SUITE=bookworm
KUBERNETES_VERSION=1.20.2
KUBERNETES_SOURCE=1.20.5+really1.20.2-1.1+deb12u1
KUBERNETES_COMMIT=e1d093448d0ed9b9b1a48f49833ff1ee64c05ba5
KUBERNETES_PROGRAMS="kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl"
# The release of Go that this Kubernetes was made with; Debian has it in the suite before.
GO_SUITE=bullseye
GO_VERSION=1.15
NODE_PACKAGES=(etcd-server containerd runc containernetworking-plugins)
HELM_VERSION=3.18.6
# Helm's own go.mod asks for 1.24; from 1.21 on a Go fetches what is asked for.
HELM_GO_SUITE=trixie
HELM_GO_VERSION=1.24
HELM_GO_LEAST=1.21
# Raised when a recipe below changes, so that older results are not taken for it.
RECIPE=1

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/lib/debian.sh"

CACHE=${CULVERT_CACHE:-${HOME:?}/.cache/culvert}
JOBS=${CULVERT_JOBS:-$(nproc)}
KUBERNETES=$CACHE/kubernetes-$KUBERNETES_VERSION-$RECIPE
NODE=$CACHE/kubernetes-node-$SUITE-$RECIPE
HELM=$CACHE/helm-$HELM_VERSION-$RECIPE

say()
{
	echo "build.sh: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

build_kubernetes()
{
	local work=$KUBERNETES.work source

	source=$work/source
	mkdir -p "$work"
	debian_lists "$work" "deb-src:$SUITE" "deb:$SUITE" "deb:$GO_SUITE"
	if [ ! -e "$work/go.ready" ]; then
		debian_extract "$work" "$work/go" "golang-$GO_VERSION-go/$GO_SUITE" "golang-$GO_VERSION-src/$GO_SUITE"
		: > "$work/go.ready"
	fi
	if [ ! -e "$work/source.ready" ]; then
		rm -rf "$source"
		(cd "$work" && debian_apt "$work" source --download-only "kubernetes=$KUBERNETES_SOURCE") || unreachable "the source of Kubernetes"
		(cd "$work" && dpkg-source --no-check -x "kubernetes_$KUBERNETES_SOURCE.dsc" "$source" >&2)
		mkdir -p "$source/.go/src/k8s.io"
		ln -s ../../.. "$source/.go/src/k8s.io/kubernetes"
		: > "$work/source.ready"
	fi
	cat > "$work/version" <<-END
		KUBE_GIT_COMMIT='$KUBERNETES_COMMIT'
		KUBE_GIT_TREE_STATE='archive'
		KUBE_GIT_VERSION='v$KUBERNETES_VERSION'
		KUBE_GIT_MAJOR='1'
		KUBE_GIT_MINOR='20'
	END
	say "building Kubernetes $KUBERNETES_VERSION (8 minutes of two cores, once)"
	mkdir -p "$work/home"
	# The tree is as it was unpacked only until make begins: programs that it makes for itself and did not finish, it takes for made the next time.
	rm "$work/source.ready"
	# Its makefile reads the work folder's own settings of git and Go; nothing is fetched.
	env -i HOME="$work/home" PATH="$work/go/usr/lib/go-$GO_VERSION/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		GOROOT="$work/go/usr/lib/go-$GO_VERSION" GOPATH="$source/.go" GOCACHE="$work/gocache" GOPROXY=off GO111MODULE=off CGO_ENABLED=0 \
		KUBE_GIT_VERSION_FILE="$work/version" \
		make -C "$source" GOFLAGS="-p=$JOBS" GOLDFLAGS="-s -w" WHAT="$(printf 'cmd/%s ' $KUBERNETES_PROGRAMS)" > "$work/build.log" 2>&1 ||
		{ tail -n 30 "$work/build.log" >&2; die "Kubernetes could not be built; all of its log: $work/build.log"; }
	rm -rf "$KUBERNETES.new"
	mkdir -p "$KUBERNETES.new"
	for program in $KUBERNETES_PROGRAMS; do
		cp "$source/_output/bin/$program" "$KUBERNETES.new/"
		strip "$KUBERNETES.new/$program"
	done
	gcc -O2 -static -o "$KUBERNETES.new/pause" "$source/build/pause/linux/pause.c"
	mv "$KUBERNETES.new" "$KUBERNETES"
	rm -rf "$work"
}

build_node()
{
	local work=$NODE.work

	mkdir -p "$work"
	debian_lists "$work" "deb-src:$SUITE" "deb:$SUITE" "deb:$GO_SUITE"
	rm -rf "$work/root"
	debian_extract "$work" "$work/root" "${NODE_PACKAGES[@]}"
	rm -rf "$NODE.new"
	mkdir -p "$NODE.new/bin" "$NODE.new/cni"
	find "$work/root/usr/bin" "$work/root/usr/sbin" -type f -exec cp -t "$NODE.new/bin" {} +
	cp "$work/root"/usr/lib/cni/* "$NODE.new/cni/"
	mv "$NODE.new" "$NODE"
	rm -rf "$work"
}

is_go_recent()
{
	local version

	version=$(GOTOOLCHAIN=local go env GOVERSION 2> /dev/null) || return 1
	[ "$(printf '%s\n' "$HELM_GO_LEAST" "${version#go}" | sort -V | head -n 1)" = "$HELM_GO_LEAST" ]
}

build_helm()
{
	local work=$HELM.work

	mkdir -p "$work/bin"
	PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
	if ! is_go_recent; then
		debian_lists "$work" "deb:$SUITE" "deb:$HELM_GO_SUITE"
		debian_extract "$work" "$work/go" "golang-$HELM_GO_VERSION-go/$HELM_GO_SUITE" "golang-$HELM_GO_VERSION-src/$HELM_GO_SUITE"
		export GOROOT=$work/go/usr/lib/go-$HELM_GO_VERSION
		PATH=$GOROOT/bin:$PATH
	fi
	say "building Helm $HELM_VERSION (2 minutes, once)"
	if ! (cd "$work" && go mod download "helm.sh/helm/v3@v$HELM_VERSION") > "$work/build.log" 2>&1; then
		tail -n 5 "$work/build.log" >&2
		unreachable "the source of Helm"
	fi
	GOBIN=$work/bin GOFLAGS="-p=$JOBS" CGO_ENABLED=0 go install -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$HELM_VERSION" \
		"helm.sh/helm/v3/cmd/helm@v$HELM_VERSION" > "$work/build.log" 2>&1 ||
		{ tail -n 30 "$work/build.log" >&2; die "Helm could not be built"; }
	mv "$work/bin" "$HELM"
	rm -rf "$work"
}

pieces=("$@")
[ ${#pieces[@]} -gt 0 ] || pieces=(kubernetes node helm)
mkdir -p "$CACHE"
for piece in "${pieces[@]}"; do
	case $piece in
	kubernetes) folder=$KUBERNETES ;;
	node) folder=$NODE ;;
	helm) folder=$HELM ;;
	*) die "there is no piece \"$piece\"; there are kubernetes, node and helm" ;;
	esac
	if [ ! -d "$folder" ]; then
		"$ROOT/deploy/deps.sh" kube >&2
		exec 9> "$folder.lock"
		flock 9
		[ -d "$folder" ] || "build_$piece"
		exec 9>&-
	fi
	echo "$folder"
done
