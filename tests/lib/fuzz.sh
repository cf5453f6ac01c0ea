#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# fuzz.sh NAME - one fuzzer for FUZZ_SECONDS from a copy of its corpus. Called by suites.sh, which sets ROOT, BUILD_ROOT, LOGS and FUZZ_SECONDS.
set -eu
name=$1

mkdir -p "$LOGS/corpus/$name"
exec "$BUILD_ROOT/fuzz/$name" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="$LOGS/crashes/$name-" "$LOGS/corpus/$name" "$ROOT/tests/fuzz/corpus/${name#fuzz_}"
