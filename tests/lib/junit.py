#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""junit.py SUITE PREFIX FILE LOGS - prints the results of a JUnit file as lines for report.sh; the output of what failed goes to files in LOGS.

A program of cmocka tests counts as each of its tests, where its output names them. Ends with 1 where the file holds no result.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

CMOCKA = re.compile(r"^\[\s*(OK|FAILED|ERROR|SKIPPED)\s*\] (\w+)\s*$")


def text_of(case, *tags):
    return "\n".join((element.get("message") or "") + "\n" + (element.text or "") for tag in tags for element in case.findall(tag)).strip()


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[")]
    return lines[-1] if lines else ""


def cmocka_results(output):
    """(result, name, reason) of each test that a cmocka program says it ran."""
    results = {}
    before = ""
    for line in output.splitlines():
        match = CMOCKA.match(line)
        if match:
            result = {"OK": "pass", "SKIPPED": "skip"}.get(match[1], "fail")
            results.setdefault(match[2], (result, match[2], before if result == "skip" else ""))  # the summary names it again
        elif not line.startswith("["):
            before = line.strip()
        else:
            before = ""
    return list(results.values())


def case_results(case, name, output):
    """What one <testcase> says, as (result, name, reason)."""
    parts = [] if case.get("status") == "notrun" else cmocka_results(output)
    skipped, failed = case.find("skipped") is not None, any(case.find(tag) is not None for tag in ("failure", "error"))
    if skipped:
        return [("skip", name, last_line(output) or text_of(case, "skipped"))]
    if failed and not any(result == "fail" for result, _, _ in parts):
        parts.append(("fail", "", ""))  # it crashed, leaked or hung
    if not parts:
        parts = [("pass", "", "")]
    return [(result, f"{name}: {part}" if part else name, reason) for result, part, reason in parts]


def main(suite, prefix, file, logs):
    try:
        cases = list(ElementTree.parse(file).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    for case in cases:
        name = case.get("name", "?")
        if case.get("classname", name) != name:
            name = f"{case.get('classname').rpartition('.')[2]}: {name}"
        is_pytest = case.get("status") is None
        output = "" if is_pytest else text_of(case, "system-out", "failure")
        if is_pytest and case.find("skipped") is not None:
            output = case.find("skipped").get("message") or ""
        for result, full, reason in case_results(case, name, output):
            if result == "fail":
                log = pathlib.Path(logs) / (re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{suite}-{prefix}-{full}")[:200] + ".log")
                log.write_text(text_of(case, "failure", "error", "system-out", "system-err") + "\n")
                reason = str(log)
            print("\t".join((result, suite, f"{prefix}{full}".replace("\t", " "), reason.replace("\t", " ").replace("\n", " "))))
    return 0 if cases else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
