#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# oci.sh FOLDER FILE NAME:TAG [ENTRYPOINT...] - packs a folder as an image of one layer into an OCI archive, without a registry or a container engine.
#
# The same folder gives the same bytes: files are sorted, belong to root, and have the time SOURCE_DATE_EPOCH (0 where it is not set). What it makes is read by
# `ctr images import`, `skopeo copy oci-archive:`, `podman load` and `docker load`.
#
# Variables: OCI_ARCH    architecture, in the words of Go (this machine's)
#            OCI_LABELS  more labels of the image, as KEY=VALUE lines
#            OCI_LEVEL   how hard gzip tries, 1 to 9 (9)
set -eu
set -o pipefail

[ $# -ge 3 ] || { sed -n '3s/^# //p' "$0" >&2; exit 2; }
folder=$1 file=$2 name=$3
shift 3
epoch=${SOURCE_DATE_EPOCH:-0}

architecture=${OCI_ARCH:-}
if [ -z "$architecture" ]; then
	case $(uname -m) in
	x86_64) architecture=amd64 ;;
	aarch64) architecture=arm64 ;;
	*) architecture=$(uname -m) ;;
	esac
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
blobs=$work/layout/blobs/sha256
mkdir -p "$blobs"

pack()
{
	tar --format=gnu --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go-w "$@"
}

# text WORD...: JSON strings, separated by commas.
text()
{
	local word separator=

	for word in "$@"; do
		word=${word//\\/\\\\}
		printf '%s"%s"' "$separator" "${word//\"/\\\"}"
		separator=,
	done
}

# blob FILE: moves it in by its hash; its digest.
blob()
{
	local digest

	digest=$(sha256sum "$1" | cut -d ' ' -f 1)
	mv "$1" "$blobs/$digest"
	echo "$digest"
}

size()
{
	stat -c %s "$blobs/$1"
}

pack -C "$folder" -cf "$work/layer.tar" .
plain=$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)
gzip -n "-${OCI_LEVEL:-9}" "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz")

labels=
while IFS='=' read -r key value; do
	[ -z "$key" ] || labels+="${labels:+,}$(text "$key"):$(text "$value")"
done <<< "${OCI_LABELS:-}"
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
printf '{"created":"%s","architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":[%s],"WorkingDir":"/","Labels":{%s}},' \
	"$created" "$architecture" "$(text "$@")" "$labels" > "$work/config"
printf '"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"oci.sh"}]}' "$plain" "$created" >> "$work/config"
config=$(blob "$work/config")

printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},' \
	"$config" "$(size "$config")" > "$work/manifest"
printf '"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' "$layer" "$(size "$layer")" >> "$work/manifest"
manifest=$(blob "$work/manifest")

printf '{"imageLayoutVersion":"1.0.0"}' > "$work/layout/oci-layout"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,' "$manifest" "$(size "$manifest")" > "$work/layout/index.json"
printf '"annotations":{"io.containerd.image.name":%s,"org.opencontainers.image.ref.name":%s},"platform":{"architecture":"%s","os":"linux"}}]}' \
	"$(text "$name")" "$(text "${name##*:}")" "$architecture" >> "$work/layout/index.json"
# For engines that know only the older form of an archive.
printf '[{"Config":"blobs/sha256/%s","RepoTags":[%s],"Layers":["blobs/sha256/%s"]}]' "$config" "$(text "$name")" "$layer" > "$work/layout/manifest.json"

pack -C "$work/layout" -cf "$file.new" blobs index.json manifest.json oci-layout
mv "$file.new" "$file"
