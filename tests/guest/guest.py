#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines with other kernels than this one's, in QEMU. As a program: guest.py KERNEL COMMAND, e.g.

    guest.py 6.1 python3 -m pytest -q /culvert/tests/netns -k leak

runs the command in a guest that has Culvert's programs and tests in /culvert, shows its console, and ends with the command's exit status."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = pathlib.Path(os.environ.get("CULVERT_BIN_DIR", ROOT / "build" / "release"))
KERNELS = ("5.10", "6.1", "6.12")
LIMIT_S = 1200  # the whole life of a guest; emulation is slow, and the machine may be busy
MEMORY_MB = 1536
PROCESSOR = "max,la57=off"
USUAL = ["-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", 2]
# One processor whose nanosecond is one instruction: what its scheduler says that a thread ran is the number of instructions that it ran. Time does not
# stand still while it sleeps, it is skipped. A string instruction counts once a round, so copies are made by the others.
COUNTED = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", f"{PROCESSOR},erms=off,fsrm=off", "-smp", 1]


class Failure(AssertionError):
    """The guest did not do what was asked."""


class Missing(Exception):
    """What a guest is made of can not be fetched here."""


def _pieces(*names):
    done = subprocess.run([HERE / "build.sh", *names], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == 77:
        raise Missing(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise Failure(f"build.sh {' '.join(names)}: exit {done.returncode}\n{done.stderr[-3000:]}")
    return [pathlib.Path(line) for line in done.stdout.split("\n") if line]


def _make_disk(folder, path):
    size_kb = int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout.split()[0])
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, path, f"{size_kb * 5 // 4 + 4096}k"], check=True,
                   capture_output=True)


class Guest:
    """One run of one command in one guest. console: all that the guest printed; results: what the command wrote to /dev/ttyS1; status: its
    exit status, or None where it had none."""

    def __init__(self, kernel, command, files=(), limit_s=LIMIT_S, append="", console_path=None, machine=USUAL):
        """files: (path here, path below /culvert) beside programs and tests. console_path: where the console can be read meanwhile, and afterwards.
        machine: USUAL or COUNTED."""
        self.kernel = kernel
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix=f"culvert-guest-{os.getpid()}-"))
        self.console_path = console_path or self._folder / "console"
        try:
            kernel_folder, root_folder = _pieces(kernel, "root")
            self._run_disk(command, files)
            self._boot(kernel_folder, root_folder, limit_s, append, machine)
        finally:
            shutil.rmtree(self._folder)

    def _run_disk(self, command, files):
        whole = self._folder / "culvert"
        (whole / "bin").mkdir(parents=True)
        for name in ("culvertd", "culvertctl", "guest_verify"):
            subprocess.run(["strip", "-o", whole / "bin" / name, BIN / name], check=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in ("netns", "guest"):
            shutil.copytree(ROOT / "tests" / name, whole / "tests" / name, ignore=ignored)
        # tests of the counters read their names there
        for source, target in [(ROOT / "bpf" / "shared.h", "bpf/shared.h"), *files]:
            (whole / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, whole / target)
        (whole / "command").write_text(command + "\n")
        _make_disk(whole, self._folder / "culvert.img")

    def _boot(self, kernel_folder, root_folder, limit_s, append, machine):
        results = self._folder / "results"
        results.touch()
        words = ["qemu-system-x86_64", "-machine", "q35", *machine, "-m", MEMORY_MB, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                 "-serial", f"file:{self.console_path}", "-serial", f"file:{results}", "-kernel", kernel_folder / "vmlinuz", "-initrd", kernel_folder / "initrd",
                 "-append", f"console=ttyS0 panic=-1 quiet mitigations=off nokaslr tsc=reliable random.trust_cpu=on {append}"]
        for disk in (root_folder / "root.img", kernel_folder / "modules.img", self._folder / "culvert.img"):
            # snapshot: what a guest writes is gone with it
            words += ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"]
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            said = process.communicate(timeout=limit_s)[1]
        except BaseException as failure:
            process.kill()
            process.wait()
            if isinstance(failure, subprocess.TimeoutExpired):
                raise Failure(f"the guest did not end in {limit_s} s; its console:\n{self._read_console()[-6000:]}") from None
            raise
        if process.returncode:
            raise Failure(f"{words[0]}: exit {process.returncode}\n{said}")
        self.console = self._read_console()
        self.results = results.read_text(errors="replace").replace("\r\n", "\n")
        found = re.search(r"^exit (\d+)", self.results, re.M)
        self.status = int(found[1]) if found else None

    def _read_console(self):
        return pathlib.Path(self.console_path).read_bytes().decode(errors="replace").replace("\r\n", "\n")


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in KERNELS:
        print(f"usage: guest.py {'|'.join(KERNELS)} COMMAND...", file=sys.stderr)
        return 2
    limit_s = int(os.environ.get("GUEST_LIMIT_S", LIMIT_S))
    guest = Guest(sys.argv[1], shlex.join(sys.argv[2:]) if len(sys.argv) > 3 else sys.argv[2], limit_s=limit_s)
    print(guest.console)
    return 1 if guest.status is None else guest.status


if __name__ == "__main__":
    sys.exit(main())
