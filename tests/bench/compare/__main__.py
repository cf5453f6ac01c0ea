# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: every workload over every subject, in turns, and what came of it. tests/bench/run.sh calls it; its usage is there."""

import argparse
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from lib import Failure, ensure_bpffs, run

from . import chart, report, subjects, topology, workloads

HERE = pathlib.Path(__file__).resolve().parent
LOCK = pathlib.Path("/run/culvert-bench.lock")
KEPT = HERE.parent / "ratios.json"
CALM = 0.25  # of a core that others use: below it medians hold
LOOK_S = 0.3
OURS = ("culvert", "optimistic")
QUICK_SUBJECTS = ("plain", "culvert", "optimistic", "haproxy")


def options_of(arguments):
    names = [kind.name for kind in subjects.ALL]
    groups = list(dict.fromkeys(workload.group for workload in workloads.FULL))
    parser = argparse.ArgumentParser(prog="run.sh", description="Culvert side by side with plain forwarding and with other tunnels: what each costs.")
    parser.add_argument("--quick", action="store_true", help="what matters most, in less than four minutes, and what became worse")
    parser.add_argument("--only", default="", metavar="WORD,...",
                        help=f"subjects ({', '.join(names)}), groups of workloads ({', '.join(groups)}) or single ones by name (--list)")
    parser.add_argument("--rounds", type=int, help="of all workloads over all subjects (5; quick: 3)")
    parser.add_argument("--seconds", type=int, help="of one measurement (3; quick: 1)")
    parser.add_argument("--unpinned", action="store_true", help="both nodes on all processors, instead of one each")
    parser.add_argument("--nice", type=int, default=-10, help="priority of all that is measured (-10)")
    parser.add_argument("--patience", type=int, default=0, metavar="SECONDS",
                        help="on a machine that others use: wait until it is calm, and measure again what was disturbed, so long in all (0)")
    parser.add_argument("--keep", action="store_true", help=f"keep the ratios in {KEPT.name}, for later runs to compare with")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/bench"), help="folder for results.jsonl, table.md and chart.svg (build/bench)")
    parser.add_argument("--list", action="store_true", help="name all workloads")
    parser.add_argument("--again", type=pathlib.Path, metavar="FILE", nargs="+",
                        help="measure nothing: the table and the chart of the results.jsonl of an earlier run, or of several of the same machine")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds must be 1 or more")
    options.workloads = list(workloads.QUICK if options.quick else workloads.FULL)
    options.subjects = [kind for kind in subjects.ALL if not options.quick or kind.name in QUICK_SUBJECTS]
    chosen = [word for word in options.only.split(",") if word]
    for word in chosen:
        if word not in names and word not in groups and word not in [workload.name for workload in workloads.FULL]:
            parser.error(f"--only {word}: there is no such subject or workload; see --help and --list")
    if any(word in names for word in chosen):
        options.subjects = [kind for kind in subjects.ALL if kind.name in chosen or kind is subjects.Plain]
    if any(word not in names for word in chosen):
        options.workloads = [workload for workload in workloads.FULL if workload.group in chosen or workload.name in chosen]
    return options


def others_cpu_s():
    """CPU of everything on this machine that is not of this run."""
    ours, busy = set(subjects.descendants(os.getpid())), 0.0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.parent.name) in ours:
                continue
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) != 2:  # a thread of the kernel works for us as well
                busy += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return busy


def machine():
    """Where it ran: (word, text)."""
    lines = (line.partition(":") for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines())
    cpu = {key.strip(): value.strip() for key, _, value in lines}
    # In a virtual machine the name may say no more than the maker's; family and model tell generations apart.
    name = f"{cpu['model name']} (family {cpu['cpu family']}, model {cpu['model']})"
    return {"cpu": f"{name}, {os.cpu_count()} cores, {'with' if 'vaes' in cpu['flags'].split() else 'without'} VAES", "kernel": platform.release(),
            "tools": ", ".join(run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "iperf3", "wrk", "nginx", "libssl3").stdout.split("\n")[:-1])}


@contextlib.contextmanager
def alone():
    """No two runs measure at the same time on this machine."""
    with open(LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.lines = []
        self.patience_s = options.patience
        options.out.mkdir(parents=True, exist_ok=True)
        self.file = open(options.out / "results.jsonl", "w", encoding="utf-8")

    def note(self, line):
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def head(self, skipped):
        what = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **machine(), "rounds": self.options.rounds,
                "run": f"{self.options.seconds} s each, {topology.processors(not self.options.unpinned)}, nice {self.options.nice}",
                "subjects": {kind.name: subjects.version(kind) for kind in self.options.subjects}, "skipped": skipped}
        self.note({"head": what})

    def all(self):
        for delay_us in sorted({workload.delay_us for workload in self.options.workloads}):
            chosen = [workload for workload in self.options.workloads if workload.delay_us == delay_us]
            network = topology.Network(self.folder, delay_us, not self.options.unpinned, self.options.nice)
            try:
                for number in range(self.options.rounds):
                    turn = number % len(self.options.subjects)  # nobody is always first
                    for kind in self.options.subjects[turn:] + self.options.subjects[:turn]:
                        self.turn(number, kind(network, self.folder / f"{network.name}-{kind.name}"), chosen)
            finally:
                network.close()

    def turn(self, number, subject, chosen):
        """One round of one subject. What fails is told, and the others go on."""
        what = "its start"
        try:
            subject.start()
            for workload in chosen:
                if (workload.is_once and number > 0) or not workload.suits(subject):
                    continue
                what = workload.name
                self.take(number, subject, workload)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            self.note({"round": number, "subject": subject.name, "workload": what, "failed": str(failure)})
            print(f"failed: {subject.name}: {what}: {failure}", file=sys.stderr, flush=True)
        finally:
            subject.stop()

    def take(self, number, subject, workload):
        share, found = self.measure(workload, subject)
        self.note({"round": number, "subject": subject.name, "workload": workload.name, "others_percent": round(100 * share),
                   "figures": {f"{workload.name}.{part}": value for part, value in found.items()}})
        values = "  ".join(f"{part} {report.number(value)}" for part, value in found.items())
        print(f"{number + 1}/{self.options.rounds} {subject.name:12} {workload.name:24} {values}", file=sys.stderr, flush=True)

    def measure(self, workload, subject):
        """What others used meanwhile, of a core, and the figures: of the least disturbed try, while there is patience for another."""
        tries = []
        while not tries or (tries[-1][0] > CALM and self.patience_s > 0 and not workload.is_once):
            self.wait_for_calm()
            with alone():
                others, began = others_cpu_s(), time.monotonic()
                found = workload.run(subject, self.options.seconds)
                took_s = time.monotonic() - began
                tries.append(((others_cpu_s() - others) / took_s, found))
            if len(tries) > 1:
                self.patience_s -= took_s
        return min(tries, key=lambda one: one[0])

    def wait_for_calm(self):
        share = 1.0
        while share > CALM and self.patience_s > 0:
            others = others_cpu_s()
            time.sleep(LOOK_S)
            share = (others_cpu_s() - others) / LOOK_S
            self.patience_s -= LOOK_S if share > CALM else 0


def end_in_order(*_):
    for number in (signal.SIGINT, signal.SIGTERM):  # once: what is being taken out is taken out whole
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    options = options_of(sys.argv[1:])
    if options.list:
        for workload in workloads.FULL:
            print(f"{workload.name:28} {workload.title}")
        return 0
    if options.again:
        return finish(options, [json.loads(line) for path in options.again for line in path.read_text(encoding="utf-8").splitlines()])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_in_order)
    ensure_bpffs()
    files = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    skipped = {kind: why for kind in options.subjects if (why := kind.missing())}
    options.subjects = [kind for kind in options.subjects if kind not in skipped]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-bench-"))
    try:
        measured = Run(options, folder)
        measured.head({kind.name: why for kind, why in skipped.items()})
        measured.all()
    except KeyboardInterrupt:
        print(f"interrupted; what was measured is in {options.out / 'results.jsonl'}", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return finish(options, measured.lines)


def finish(options, lines):
    """Table, chart, and what became worse, of the lines of a results file. What main returns: 1 where something failed."""
    head = lines[0]["head"]
    samples = report.collected(lines)
    figures = [figure for workload in workloads.FULL for figure in workload.figures()]
    titles = {kind.name: kind.title for kind in subjects.ALL if kind.name in head["subjects"]}
    others = [line["others_percent"] for line in lines if "others_percent" in line]
    failed = [line for line in lines if "failed" in line]
    text = "".join(f"- {word}: {value}\n" for word, value in head.items() if word not in ("subjects", "skipped"))
    text += "".join(f"- {name}: {version}\n" for name, version in head["subjects"].items())
    text += "".join(f"- skipped: {name}: {why}\n" for name, why in head["skipped"].items())
    text += f"- CPU used by others meanwhile, of one core: {statistics.median(others or [0]):.0f} % (median), {max(others, default=0)} % (most)\n"
    text += "\n**median** [smallest - largest of the rounds] ratio of the medians to plain's; ↑ higher is better, ↓ lower is better.\n\n"
    text += report.table(samples, figures, titles)
    if head["rounds"] > 1:
        steady = [figure for figure in figures if figure.is_kept]
        text += "\nEach subject's best round, which is the least disturbed one where others use the machine:\n\n"
        text += report.table(report.best(samples, steady), steady, titles)
    text += "".join(f"\nfailed: {line['subject']}: {line['workload']}: {line['failed']}\n" for line in failed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    drawn = [workload.figures()[0] for workload in workloads.FULL]
    (options.out / "chart.svg").write_text(chart.chart(report.ratios(samples), drawn, titles), encoding="utf-8")
    print(text)
    compare_with_kept(options, head["cpu"], samples, figures)
    return 1 if failed else 0


def compare_with_kept(options, cpu, samples, figures):
    """By each subject's best round: on a machine that others use, medians differ more from run to run. Another processor has other ratios, where it
    encrypts faster or wakes up slower: kept are those of each by itself."""
    best = report.best(samples, [figure for figure in figures if figure.is_kept])
    bases = (report.BASE, report.SECOND_BASE)
    ours = {key: {name: round(ratio, 4) for name, ratio in of.items() if name in OURS} for key, of in report.ratios(best, bases).items()}
    all_kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept = all_kept.get(cpu, {})
    if options.keep:
        all_kept[cpu] = {**kept, **{key: of for key, of in ours.items() if of}}
        KEPT.write_text(json.dumps(all_kept, indent=1, sort_keys=True) + "\n")
        return
    if not kept:
        print(f"no ratios are kept of a machine like this one ({cpu}); --keep would.")
        return
    found = report.worse(ours, kept, figures)
    for figure, subject, before, after in found:
        print(f"worse: {subject}: {figure.title}: {after:.2f}x of {report.base_of(best[figure.key], bases)[0]}, kept {before:.2f}x")
    print(f"{len(found)} of the kept ratios became worse by more than {report.WORSE:.0%}.")


if __name__ == "__main__":
    sys.exit(main())
