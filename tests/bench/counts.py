#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions of the daemons for a byte and for a request, by the number of workers: guests that count (tests/guest), and a table of what they said. With
--sharing instead: which cache lines the threads of a daemon share while data moves, and which locks they take."""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "guest"))

from guest import BIN, COUNTED, Guest, Missing  # noqa: E402

SHARING = pathlib.Path(os.environ.get("CULVERT_SHARING_DIR", ROOT / "build" / "sharing"))
KERNEL = "6.12"
LINE_BYTES = 64
LOCKS_MOST = 10  # of a worker: when it is full or is so no more, which it knows once a second, it tells the kernel under one (edge/pairs)
WRITTEN_MOST = 100  # times that all threads write a line which they share, for 128 MiB and 3,200 requests; what they share for each record or frame is above it
PARTS = {"spread": "the same work", "each": "as much for each worker"}
# (name, what of it is divided, by what, the row's name)
WHOSE = {"hub": "the node's daemon", "peers": "its peers'"}
ROWS = [(name, f"{whose}_ran", "bytes", f"{text}: instructions a byte, {of}") for name, text in (("up", "bulk sent"), ("down", "bulk received"))
        for whose, of in WHOSE.items()]
ROWS += [("requests", f"{whose}_{what}", "exchanges", f"requests: {text}, {of}")
         for what, text in (("ran", "instructions each"), ("turns", "times a worker woke")) for whose, of in WHOSE.items()]


def ran(command, **options):
    """What the command wrote in a guest."""
    files = [(BIN / "bench_work", "bin/bench_work"), *options.pop("files", ())]
    guest = Guest(KERNEL, command, files=files, **options)
    if guest.status != 0:
        sys.exit(f"counts.sh: the guest's {command} ended with {guest.status}:\n{guest.console[-4000:]}")
    return guest.results


def count(workers, limit_s):
    return json.loads(ran(f"python3 counts.py {workers}", machine=COUNTED, limit_s=limit_s).split("\n")[0])


def place(program, address):
    """Function and line of a place in the code, from where it returns to."""
    words = ["addr2line", "-f", "-e", program, hex(int(address, 16) - 1)]
    function, line = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")[:2]
    return f"{function} ({line.split('/daemon/')[-1]})"


def whose(program, address):
    """The variables that lie in a line."""
    begin, found = int(address, 16), []
    for entry in subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = entry.split()
        if len(fields) == 4 and int(fields[0], 16) < begin + LINE_BYTES and int(fields[0], 16) + int(fields[1], 16) > begin:
            found.append(fields[3])
    return ", ".join(found) or "the heap"


def sharing(workers, limit_s):
    """Prints the report of a daemon, and returns whether its threads share nothing that is written often."""
    program = SHARING / "culvertd"
    report = ran(f"python3 counts.py {workers} sharing", files=[(program, "bin/culvertd")], limit_s=limit_s)
    is_good = True
    for line in re.findall(r"^line (\S+)\n((?:  .*\n)+)", report, re.M):
        touches = re.findall(r"^  (\S+) reads (\d+) at (\S+) writes (\d+) at (\S+)$", line[1], re.M)
        written = sum(int(touch[3]) for touch in touches)
        is_good &= written <= WRITTEN_MOST
        print(f"a line of {whose(program, line[0])}, written {written} times:")
        for name, reads, read_at, writes, written_at in touches:
            kinds = ((reads, "reads", read_at), (writes, "writes", written_at))
            text = [f"{count} {what}, first in {place(program, at)}" for count, what, at in kinds if count != "0"]
            print(f"  {name}: {'; '.join(text)}")
    threads = re.findall(r"^thread (culvert-\d+) lines (\d+) locks (\d+) taken (\d+) given (\d+) of_others (\d+)$", report, re.M)
    for name, lines, locks, taken, given, of_others in threads:
        print(f"{name}: {lines} lines, {locks} locks taken, {taken} blocks taken from the heap, {given} given back, {of_others} of them another thread's")
        is_good &= int(locks) <= LOCKS_MOST and of_others == "0"
    return is_good and len(threads) == workers


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def cell(rounds, first, part, row):
    """Each round's figure, and the ratio of the medians to that of the first number of workers."""
    def values(of):
        return [one[part][row[0]][row[1]] / one[part][row[0]][row[2]] for one in of]

    text = ", ".join(map(figure, values(rounds)))
    return text if rounds is first else f"{text} **{statistics.median(values(rounds)) / statistics.median(values(first)):.2f}x**"


def table(found):
    """found: {workers: [a result of each round]}."""
    first = next(iter(found.values()))
    lines = [f"- guest: Linux {first[0]['kernel']}, one emulated processor", f"- culvert: culvertd {first[0]['version']}, records by {first[0]['sealed_by']}"]
    for part, text in PARTS.items():
        lines += ["", f"| {text} | " + " | ".join(f"{workers} worker{'s' if workers > 1 else ''}" for workers in found) + " |", "|---" * (1 + len(found)) + "|"]
        lines += [f"| {row[3]} | " + " | ".join(cell(rounds, first, part, row) for rounds in found.values()) + " |" for row in ROWS]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="counts.sh", description=__doc__)
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers, 1 to 4 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="guests for each of them (%(default)s)")
    parser.add_argument("--limit", type=int, default=1200, metavar="SECONDS", help="how long a guest may live (%(default)s)")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "counts", help="where counts.jsonl is left, a line a guest (%(default)s)")
    parser.add_argument("--again", type=pathlib.Path, metavar="FILE", help="the table of an earlier counts.jsonl")
    parser.add_argument("--sharing", action="store_true",
                        help="what threads share, with the most workers of --workers; ends with 1 where that is more than it should be")
    options = parser.parse_args()
    if options.sharing:
        sys.exit(not sharing(max(map(int, options.workers.split(","))), options.limit))
    found = {}
    if options.again:
        for line in options.again.read_text().splitlines():
            found.setdefault(json.loads(line)["workers"], []).append(json.loads(line))
    else:
        options.output.mkdir(parents=True, exist_ok=True)
        with open(options.output / "counts.jsonl", "w", encoding="utf-8") as results:
            for _ in range(options.rounds):
                for workers in map(int, options.workers.split(",")):
                    result = count(workers, options.limit)
                    found.setdefault(workers, []).append(result)
                    results.write(json.dumps(result) + "\n")
                    results.flush()
    print(table(found))


if __name__ == "__main__":
    try:
        main()
    except Missing as missing:
        sys.exit(f"counts.sh: {missing}")
