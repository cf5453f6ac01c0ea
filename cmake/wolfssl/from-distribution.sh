#!/bin/sh
# from-distribution.sh VERSION SHA256 FILE - fetches wolfSSL's upstream archive from the source archive of the Debian mirror that this machine is set up
# with, by apt and its settings (proxy, keys). The machine's own package lists stay as they are.
set -eu
version=$1 sha256=$2 file=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
mirror=$(apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian main //p' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt knows no mirror of Debian" >&2; exit 1; }
for suite in sid testing stable; do
	echo "deb-src $mirror $suite main"
done > "$work/sources.list"

apt() {
	apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists" \
		-o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root "$@"
}
apt update >&2
# A package's description can be gone from the archive while the upstream file is still there: so the file is fetched by itself.
versions=$(apt-cache -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists" \
	-o "Dir::Cache=$work/cache" showsrc wolfssl | sed -n 's/^Version: //p' | grep -F "$version-" | sort -u)
for full in $versions; do
	uri=$(apt --print-uris --download-only source "wolfssl=$full" | sed -n "s/^'\\([^']*\\)' wolfssl_$version\\.orig\\.tar\\.gz .*/\\1/p" | head -n 1)
	[ -n "$uri" ] || continue
	if /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "$uri" "$file" "SHA256:$sha256" >&2; then
		exit 0
	fi
done
echo "the source archive of $mirror has no wolfSSL $version" >&2
exit 1
