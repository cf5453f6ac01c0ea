# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon in a container of containerd's, confined as Kubernetes confines it and mounted as the chart mounts it."""

import contextlib
import os
import pathlib
import subprocess

from lib import RUN_NETNS, run, wait_for
from mesh import Daemon

IMAGE = pathlib.Path("/culvert/image.tar")
CGROUPS = pathlib.Path("/sys/fs/cgroup/default")
PROFILE = "cri-containerd.apparmor.d"  # Kubernetes' RuntimeDefault
# Of the kernel's interface.
BITS = {"NET_ADMIN": 12, "NET_RAW": 13, "SYS_ADMIN": 21}
# What containerd gives by itself, and `drop: [ALL]` takes.
USUAL = ("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",
         "AUDIT_WRITE")


@contextlib.contextmanager
def runtime():
    """containerd, with the image of the chart in it."""
    log = open("/run/containerd.log", "wb")
    process = subprocess.Popen(["containerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: run("ctr", "version", check=False).returncode == 0, lambda: pathlib.Path(log.name).read_text()[-3000:], timeout=240)
        run("ctr", "images", "import", IMAGE, timeout=240)
        yield
    finally:
        process.terminate()
        process.wait()
        log.close()


class Confined(Daemon):
    def __init__(self, mesh, host, limit):
        super().__init__(mesh, host)
        self.limit = limit
        self.capabilities = os.environ["CAPABILITIES"].split(",")
        self.runs = 0
        self.image = run("ctr", "images", "ls", "-q").stdout.split()[0]
        self.write_config(kernel={"bpffs": "/host/bpf", "sysctl": "/host/sysctl"})

    def _command(self, *arguments):
        self.runs += 1
        self.container = f"{self.host.node_name}-{self.runs}"
        words = ["ctr", "run", "--rm", "--with-ns", f"network:{RUN_NETNS / self.host.name}", "--read-only", "--seccomp", "--apparmor-default-profile", PROFILE,
                 "--memory-limit", self.limit]
        for name in USUAL:
            if name not in self.capabilities:
                words += ["--cap-drop", f"CAP_{name}"]
        for name in self.capabilities:
            words += ["--cap-add", f"CAP_{name}"]
        self.runtime.mkdir(exist_ok=True)
        for source, target, options in ((self.mesh.folder, self.mesh.folder, "rbind:ro"), (self.runtime, self.runtime, "rbind:rw"),
                                        ("/sys/fs/bpf", "/host/bpf", "rbind:rw"), ("/proc/sys/net", "/host/sysctl", "rbind:rw")):
            words += ["--mount", f"type=bind,src={source},dst={target},options={options}"]
        return [str(word) for word in (*words, self.image, self.container, "/usr/sbin/culvertd", "--config", self.config, *arguments)]

    def start(self, wait=True, **_):
        assert not self.is_running()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()
        return self

    def kill(self):
        run("ctr", "tasks", "kill", "-s", "SIGKILL", self.container)
        self.process.wait()

    def remove(self):
        done = run(*self._command("--remove"), timeout=240)
        # It was made by the one who mounts it, and is his to take; empty, or this fails.
        self.runtime.rmdir()
        return done

    def _pid(self):
        lines = run("ctr", "tasks", "ls").stdout.splitlines()
        return next(line.split()[1] for line in lines if line.split()[0] == self.container)

    def describe(self):
        folder = pathlib.Path("/proc") / self._pid()
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        return {"AppArmor": (folder / "attr/current").read_text().strip(), **{key: status[key].strip() for key in ("CapEff", "CapBnd", "Seccomp", "NoNewPrivs")}}

    def assert_confined(self):
        found = self.describe()
        mask = f"{sum(1 << BITS[name] for name in self.capabilities):016x}"
        assert found == {"AppArmor": f"{PROFILE} (enforce)", "CapEff": mask, "CapBnd": mask, "Seccomp": "2", "NoNewPrivs": "1"}, found
        assert int((CGROUPS / self.container / "memory.max").read_text()) == self.limit

    def memory(self):
        folder = CGROUPS / self.container
        events = dict(line.split() for line in (folder / "memory.events").read_text().splitlines())
        return {**{name: int((folder / name).read_text()) for name in ("memory.current", "memory.peak")}, "oom_kill": int(events["oom_kill"])}
