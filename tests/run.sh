#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh [SUITE...] - the tests. Suites: style, unit, bpf, netns, fidelity, kube, guest, fuzz, asan, tsan; without any, all of them
# but guest, which emulates other kernels. The first time kube builds Kubernetes and Helm into $CULVERT_CACHE for 10 minutes.
#
# Installs what is missing, builds what a suite needs, names each skip with its reason and each failure with its log, and ends with the line
# "N passed, N failed, N skipped". Ends with 0 only where something ran and nothing failed.
#
# Variables: CULVERT_BUILD_ROOT  where the presets are built (build)
#            FUZZ_SECONDS        how long each fuzzer runs (10)
#            CULVERT_TEST_LOGS   where logs are kept (BUILD_ROOT/logs)
#            PYTEST_ARGS         more arguments for pytest, e.g. "-k services"
set -u
set -o pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd) || exit 1
BUILD_ROOT=${CULVERT_BUILD_ROOT:-$ROOT/build}
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
ALL_SUITES=(style unit bpf netns fidelity kube fuzz asan tsan)

. "$ROOT/tests/lib/report.sh"
. "$ROOT/tests/lib/suites.sh"

usage()
{
	sed -n '3,12s/^# \{0,1\}//p' "$0"
}

suites=()
for word in "$@"; do
	case $word in
	-h | --help)
		usage
		exit 0
		;;
	all) suites+=("${ALL_SUITES[@]}") ;;
	*)
		if ! declare -F "suite_$word" > /dev/null; then
			echo "run.sh: there is no suite \"$word\"; there are ${ALL_SUITES[*]} guest" >&2
			exit 2
		fi
		suites+=("$word")
		;;
	esac
done
[ ${#suites[@]} -gt 0 ] || suites=("${ALL_SUITES[@]}")

"$ROOT/deploy/deps.sh" build test || exit 1

LOGS=${CULVERT_TEST_LOGS:-$BUILD_ROOT/logs}
rm -rf "$LOGS"
mkdir -p "$LOGS" || exit 1
report_begin

# What runs has a process group of its own, and is interrupted and not terminated: pytest takes its namespaces out then.
child=
stop()
{
	trap - INT TERM
	[ -z "$child" ] || kill -INT -- "-$child" 2> /dev/null
	wait
	exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

cd "$ROOT" || exit 1
for suite in "${suites[@]}"; do
	begin=$SECONDS
	echo "=== $suite"
	"suite_$suite"
	report_suite "$suite" $((SECONDS - begin))
done
report_end
