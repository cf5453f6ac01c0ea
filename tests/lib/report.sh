# SPDX-License-Identifier: GPL-3.0-or-later
# report.sh - counts results over all suites. Sourced by run.sh, which sets LOGS and ROOT.
# A result is a line of $LOGS/results: pass, fail or skip, then suite, name, and the reason of a skip or the log of a failure, separated by tabs.

report_begin()
{
	: > "$LOGS/results"
	: > "$LOGS/seconds"
}

# report_add RESULT SUITE NAME [REASON_OR_LOG]
report_add()
{
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}" >> "$LOGS/results"
}

# report_junit SUITE PREFIX FILE: the results of a JUnit file, of ctest or pytest.
report_junit()
{
	if ! /usr/bin/python3 "$ROOT/tests/lib/junit.py" "$1" "$2" "$3" "$LOGS" >> "$LOGS/results"; then
		report_add fail "$1" "${2}results of its tests" "$3"
	fi
}

report_count()
{
	awk -F '\t' -v result="$1" -v suite="${2:-}" '$1 == result && (suite == "" || $2 == suite) { n++ } END { print n + 0 }' "$LOGS/results"
}

# Of a build's log the errors, of any other the end.
report_excerpt()
{
	case $1 in
	*/build-*) grep -n -A 4 -E 'error:|Error|undefined reference|multiple definition' "$1" | head -n 40 ;;
	esac | grep . || tail -n 40 "$1"
}

# Each failure with the end of its log, each skip with its reason, and the suite's count.
report_suite()
{
	local suite=$1 seconds=$2

	awk -F '\t' -v suite="$suite" '$1 == "skip" && $2 == suite { print "skipped: " $3 ": " ($4 == "" ? "no reason was given" : $4) }' "$LOGS/results"
	while IFS=$'\t' read -r _ _ name log; do
		echo "FAILED: $suite: $name"
		if [ -s "$log" ]; then
			echo "        $log"
			report_excerpt "$log" | sed 's/^/    | /'
		fi
	done < <(awk -F '\t' -v suite="$suite" '$1 == "fail" && $2 == suite' "$LOGS/results")
	echo "--- $suite: $(report_count pass "$suite") passed, $(report_count fail "$suite") failed, $(report_count skip "$suite") skipped in $seconds s"
	printf '%s\t%s\n' "$suite" "$seconds" >> "$LOGS/seconds"
}

# The last line, and the exit status.
report_end()
{
	local passed failed skipped

	passed=$(report_count pass)
	failed=$(report_count fail)
	skipped=$(report_count skip)
	echo "=== seconds: $(awk -F '\t' '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2 }' "$LOGS/seconds")"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
