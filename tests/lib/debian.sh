# SPDX-License-Identifier: GPL-3.0-or-later
# debian.sh - Debian's packages of any release as files, without installing them. Sourced by what builds parts of the tests; the machine's own
# lists and settings of apt stay as they are.

unreachable()
{
	echo "${0##*/}: $* can not be fetched here" >&2
	exit 77
}

# debian_lists WORK TYPE:RELEASE...: apt's lists of these releases, in WORK; TYPE is deb or deb-src. They are fetched once.
debian_lists()
{
	local work=$1 mirror source
	shift

	[ ! -e "$work/apt/ready" ] || return 0
	mirror=$(apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian main //p' | sort -u | head -n 1)
	[ -n "$mirror" ] || { echo "${0##*/}: apt knows no mirror of Debian" >&2; exit 1; }
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
	for source in "$@"; do
		echo "${source%%:*} $mirror ${source#*:} main"
	done > "$work/apt/sources.list"
	debian_apt "$work" update -o APT::Update::Error-Mode=any || unreachable "Debian's list of packages"
	: > "$work/apt/ready"
}

# debian_apt WORK ARGUMENT...: apt-get with these lists.
debian_apt()
{
	local work=$1
	shift

	apt-get -q -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/apt/lists" \
		-o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root "$@" >&2
}

# debian_extract WORK ROOT PACKAGE[/RELEASE]...: the files of packages, into ROOT. A folder of ROOT that is a link to another, as /bin is, stays one.
debian_extract()
{
	local work=$1 root=$2 package file
	shift 2

	mkdir -p "$work/debs" "$root"
	(cd "$work/debs" && debian_apt "$work" download "$@") || unreachable "$*"
	for package in "$@"; do
		for file in "$work/debs/${package%%[=/]*}"_*.deb; do
			dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink
		done
	done
}
