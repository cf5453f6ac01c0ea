# SPDX-License-Identifier: GPL-3.0-or-later
# suites.sh - one function suite_NAME a suite. Sourced by run.sh, which sets ROOT, BUILD_ROOT, LOGS and FUZZ_SECONDS.

JOBS=$(nproc)
# Tests over namespaces wait most of the time: so many for a processor keep it busy without making them wait for each other. Those on Kubernetes are
# fewer, since each process of them has an API server.
TESTS_AT_ONCE=$((3 * JOBS)) KUBE_TESTS_AT_ONCE=$((2 * JOBS))

# build_preset SUITE PRESET [TARGET]: a failure is counted and shown; a preset is built once in a run.
build_preset()
{
	local suite=$1 preset=$2 target=${3:-all} log=$LOGS/build-$2.log

	[ ! -e "$LOGS/built-$preset" ] || return 0
	echo "building $preset"
	if cmake --preset "$preset" -B "$BUILD_ROOT/$preset" > "$log" 2>&1 &&
		run_quietly "$log" cmake --build "$BUILD_ROOT/$preset" -j "$JOBS" --target "$target"; then
		: > "$LOGS/built-$preset"
		return 0
	fi
	report_add fail "$suite" "build of $preset" "$log"
	return 1
}

# run_quietly LOG COMMAND...: in the background, so that a signal to run.sh is taken at once. Bash makes what runs in the background ignore
# interrupts, and a shell that starts so can not undo it: hence env.
run_quietly()
{
	local log=$1
	shift

	setsid env --default-signal=INT,QUIT "$@" >> "$log" 2>&1 &
	child=$!
	wait "$child"
	local status=$?
	child=
	return "$status"
}

# run_ctest SUITE PRESET LABELS [WRAPPER...]
run_ctest()
{
	local suite=$1 preset=$2 labels=$3 junit
	shift 3

	junit=$LOGS/$suite-$labels.xml
	run_quietly "$LOGS/$suite-ctest.log" "$@" ctest --test-dir "$BUILD_ROOT/$preset" -L "^($labels)\$" -j "$JOBS" --no-tests=error \
		--test-output-size-passed 65536 --test-output-size-failed 1048576 --output-junit "$junit"
	report_junit "$suite" "" "$junit"
}

# run_pytest SUITE PRESET FOLDER [MARKS]: the tests of a folder, or those with marks, with the programs of a preset; many beside each other, as
# tests/conftest.py says, and then by themselves those that are marked alone. What failed gets one more try by itself: second_try.py says why.
run_pytest()
{
	local suite=$1 preset=$2 folder=$3 marks=${4:+($4) and } at_once=$TESTS_AT_ONCE none=0 part junit status

	for part in "not alone" alone; do
		[ "$part" != alone ] || at_once=0
		junit=$LOGS/$suite-$folder-${part// /-}.xml
		pytest_once "$suite" "$preset" "$folder" "$marks$part" "$junit" -n "$at_once" --dist loadgroup
		status=$?
		if [ "$status" -eq 5 ] && [ $((none += 1)) -lt 2 ]; then
			continue # no test is chosen, which is right for one of the two
		fi
		if grep -qE '<(failure|error)[ >]' "$junit" 2> /dev/null; then
			pytest_once "$suite" "$preset" "$folder" "$marks$part" "$junit.again" --last-failed --last-failed-no-failures none
			/usr/bin/python3 "$ROOT/tests/lib/second_try.py" "$junit" "$junit.again"
		fi
		report_junit "$suite" "" "$junit"
	done
}

# pytest_once SUITE PRESET FOLDER MARKS JUNIT [ARGUMENT...]
pytest_once()
{
	local suite=$1 preset=$2 folder=$3 marks=$4 junit=$5
	shift 5

	# shellcheck disable=SC2086
	CULVERT_BIN_DIR=$BUILD_ROOT/$preset PYTHONDONTWRITEBYTECODE=1 run_quietly "$LOGS/$suite-pytest.log" ${WRAPPER:-} /usr/bin/python3 -m pytest \
		-o cache_dir="$LOGS/pytest-$suite" -q "$@" ${PYTEST_ARGS:-} -m "$marks" --junitxml "$junit" "$ROOT/tests/$folder"
}

# A sanitizer's report in a daemon that a test started is a failure, whatever the test thought of it.
report_sanitizer()
{
	local suite=$1 file

	for file in "$LOGS/$suite-report".*; do
		[ -e "$file" ] || continue
		report_add fail "$suite" "report of a sanitizer: $(grep -m 1 -E 'ERROR|WARNING|runtime error' "$file" | tr '\t' ' ')" "$file"
	done
}

# check_files SUITE WHAT LIST COMMAND...: the command with each file of the array LIST as its last word, as many at a time as there are processors.
check_files()
{
	local suite=$1 what=$2 file log begin=$LOGS/$1-$2-
	local -n files=$3
	shift 3

	printf '%s\n' "${files[@]}" > "${begin}files"
	# shellcheck disable=SC2016
	run_quietly "${begin}all.log" xargs -a "${begin}files" -d '\n' -P "$JOBS" -I{} sh -c '
		log=$1$(echo "$2" | tr / _).log file=$2
		shift 2
		"$@" "$file" > "$log" 2>&1 && : > "$log.passed"' sh "$begin" {} "$@"
	for file in "${files[@]}"; do
		log=$begin${file//\//_}.log
		if [ -e "$log.passed" ]; then
			report_add pass "$suite" "$what $file"
		else
			report_add fail "$suite" "$what $file" "$log"
		fi
	done
}

suite_style()
{
	local sources scripts modules daemon

	git -C "$ROOT" rev-parse --git-dir > /dev/null 2>&1 || { report_add skip style "all of it" "this is no git work tree"; return; }
	mapfile -t sources < <(git -C "$ROOT" ls-files -- '*.c' '*.h')
	mapfile -t scripts < <(git -C "$ROOT" ls-files -- '*.sh' .ci/run)
	mapfile -t modules < <(git -C "$ROOT" ls-files -- '*.py')
	mapfile -t daemon < <(git -C "$ROOT" ls-files -- 'daemon/*.c')
	check_files style format sources clang-format --dry-run -Werror --style=file
	check_files style syntax scripts bash -n
	check_files style syntax modules /usr/bin/python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])'
	build_preset style release || return
	check_files style tidy daemon clang-tidy --quiet -p "$BUILD_ROOT/release"
}

suite_unit()
{
	build_preset unit release && run_ctest unit release unit
}

suite_bpf()
{
	build_preset bpf release && run_ctest bpf release bpf
}

suite_netns()
{
	build_preset netns release && run_pytest netns release netns
}

# What a suite needs beside the build is made once per machine by its build.sh: 77 where it can not be had. $2: what that is; $3: how many of its
# tests run at once.
run_prepared()
{
	local suite=$1 log=$LOGS/$1-parts.log

	build_preset "$suite" release || return
	"$ROOT/deploy/deps.sh" "$suite" || { report_add fail "$suite" "packages"; return; }
	run_quietly "$log" "$ROOT/tests/$suite/build.sh"
	case $? in
	0) TESTS_AT_ONCE=$3 run_pytest "$suite" release "$suite" ;;
	77) report_add skip "$suite" "all of it" "$(tail -n 1 "$log")" ;;
	*) report_add fail "$suite" "$2" "$log" ;;
	esac
}

# A real Kubernetes.
suite_kube()
{
	run_prepared kube "build of Kubernetes and Helm" "$KUBE_TESTS_AT_ONCE"
}

# Other kernels than this machine's, in an emulator, which needs the whole machine.
suite_guest()
{
	run_prepared guest "what guests are made of" 1
}

# What programs notice, with Culvert and without it.
suite_fidelity()
{
	local junit=$LOGS/fidelity.xml

	build_preset fidelity release || return
	"$ROOT/deploy/deps.sh" fidelity || { report_add fail fidelity "packages"; return; }
	CULVERT_BIN_DIR=$BUILD_ROOT/release PYTHONDONTWRITEBYTECODE=1 run_quietly "$LOGS/fidelity.log" /usr/bin/python3 "$ROOT/tests/fidelity/run.py" --junit "$junit"
	report_junit fidelity "" "$junit"
}

# The corpora by the normal build, then each fuzzer for a while from a copy of its corpus.
suite_fuzz()
{
	local fuzzers

	build_preset fuzz release && run_ctest fuzz release fuzz
	build_preset fuzz fuzz fuzzers || return
	mapfile -t fuzzers < <(cd "$ROOT/tests/fuzz" && printf '%s\n' fuzz_*.c)
	mkdir -p "$LOGS/crashes"
	export ROOT BUILD_ROOT LOGS FUZZ_SECONDS
	fuzzers=("${fuzzers[@]%.c}")
	check_files fuzz fuzzer fuzzers "$ROOT/tests/lib/fuzz.sh"
}

suite_asan()
{
	build_preset asan asan || return
	export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
	run_ctest asan asan "unit|bpf|fuzz"
	ASAN_OPTIONS=$ASAN_OPTIONS:log_path=$LOGS/asan-report UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$LOGS/asan-report run_pytest asan asan netns
	report_sanitizer asan
	unset ASAN_OPTIONS UBSAN_OPTIONS
}

# gcc 12's ThreadSanitizer does not know the address spaces of newer kernels: setarch turns their randomisation off.
suite_tsan()
{
	build_preset tsan tsan || return
	export TSAN_OPTIONS=second_deadlock_stack=1
	run_ctest tsan tsan unit setarch "$(uname -m)" -R
	TSAN_OPTIONS=$TSAN_OPTIONS:log_path=$LOGS/tsan-report WRAPPER="setarch $(uname -m) -R" run_pytest tsan tsan netns threads
	report_sanitizer tsan
	unset TSAN_OPTIONS
}
