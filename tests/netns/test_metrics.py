# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 6: what a dashboard and an alert can see: /metrics, /livez and /readyz, and that nobody who asks can disturb the node."""

import contextlib
import ctypes
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess

import pytest

from counted import CLASSES
from lib import DEADLINE_S, wait_for
from mesh import Mesh, read_all
from scrape import PORT, ROOT, Scrape, curl, metrics_of_docs, names_in
from traffic import talk

CONNECTIONS_MAX = 64
PAYLOAD = 3 << 20


@pytest.fixture(scope="module")
def mesh():
    with Mesh() as m:
        yield m


def carry(mesh, size=PAYLOAD):
    """One stream from a1 to b1 that carries so much, and as much back."""
    sent = os.urandom(size)

    def echo(connection, _):
        connection.sendall(read_all(connection))

    def ask(connection):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)

    assert talk(mesh.net.a1, mesh.net.b1, mesh.net.b1.v4, echo, ask)[1] == sent


def test_the_figures_are_those_of_the_status_and_of_the_kernel(mesh):
    carry(mesh)
    one = mesh.one
    wait_for(lambda: not one.streams(), "the stream to be gone")
    page = Scrape(one).text

    def same():
        """One reading of each, with nothing in between that moves. The same page again may be from before the first reading: it is given for half a second."""
        nonlocal page
        before, scrape, after = one.status(), Scrape(one), one.status()
        is_new, page = scrape.text != page, scrape.text  # one that was made anew says more processor time
        keys = ("counters", "ended", "streams_total", "sent_bytes", "received_bytes", "events")
        return is_new and [before[key] for key in keys] == [after[key] for key in keys] and (before, scrape)

    status, scrape = wait_for(same, "a quiet moment")
    assert scrape["culvert_ready"] == 1 and scrape["culvert_draining"] == 0
    assert scrape.of("culvert_build_info", version=status["version"]) == 1
    assert scrape.of("culvert_config_info", node="node1", mode="strict", connect=status["connect"], identity="node") == 1
    assert scrape["culvert_nodes"] == status["nodes"] == scrape["culvert_nodes_enrolled"] == 2
    assert scrape["culvert_pod_prefixes"] == int(status["pods"]) > 0
    assert scrape.by("culvert_pairs", "state") == {"not_enrolled": 0, "joining": 0, "joined": 1}
    assert scrape["culvert_workers"] == status["workers"]
    assert scrape.by("culvert_peers", "state") == {"none": 0, "connecting": 0, "up": 1, "suspect": 0, "draining": 0}
    assert scrape.of("culvert_tunnels", state="up") == one.peers()["node2"]["tunnels"]
    assert scrape["culvert_sent_bytes_total"] == status["sent_bytes"] >= PAYLOAD
    assert scrape["culvert_received_bytes_total"] == status["received_bytes"] >= PAYLOAD
    ended = {reason: count for reason, count in scrape.by("culvert_streams_ended_total", "reason").items() if count}
    assert ended == {entry["reason"]: entry["streams"] for entry in status["ended"]}
    assert sum(scrape.by("culvert_streams_opened_total", "role").values()) == status["streams_total"]
    assert scrape["culvert_tunnels_opened_total"] == one.events()["tunnels_opened"] >= 1
    assert scrape["culvert_memory_limit_bytes"] == status["memory"]["budget_bytes"]
    assert scrape["culvert_certificate_expiry_timestamp_seconds"] == status["certificate_not_after_s"]
    assert scrape["culvert_authorities"] == 1 and scrape["culvert_crl_loaded"] == 0
    assert scrape.by("culvert_reload_successful", "what") == {"settings": 1, "nodes": 1, "certificates": 1}
    for unit in ("packets", "bytes"):
        kernel = {key[1]: figure for key, figure in scrape.samples.items() if key[0] == f"culvert_kernel_{unit}_total"}
        for counter in status["counters"]:
            verdict = "refused" if counter["is_refused"] else "clear" if counter["is_clear"] else "passed"
            labels = ("class", counter["name"]), ("direction", "ingress" if counter["is_ingress"] else "egress"), ("verdict", verdict)
            assert kernel.pop(labels) == counter[unit], labels
        assert not kernel
    assert scrape.of("culvert_kernel_packets_total", **{"class": "tunnel", "direction": "egress", "verdict": "passed"}) > 0
    assert set(scrape.by("culvert_kernel_packets_total", "class")) <= set(CLASSES)
    assert scrape.by("culvert_devices", "state")["behind"] == 0 < scrape.by("culvert_devices", "state")["first"]
    assert scrape["process_resident_memory_bytes"] > 1 << 20 and scrape["process_cpu_seconds_total"] > 0


def test_scrapes_while_traffic_flows_only_grow_and_traffic_is_whole(mesh):
    def counters(scrape):
        return {key: figure for key, figure in scrape.samples.items() if scrape.types[key[0]] == "counter"}

    readings = [counters(Scrape(mesh.one))]
    for _ in range(4):
        carry(mesh)
        readings.append(counters(Scrape(mesh.one)))
    for earlier, later in zip(readings, readings[1:]):
        assert earlier.keys() == later.keys()
        assert all(later[key] >= earlier[key] for key in earlier)
    wait_for(lambda: counters(Scrape(mesh.one))["culvert_sent_bytes_total", ()] >= readings[0]["culvert_sent_bytes_total", ()] + 4 * PAYLOAD, "all of it to be counted")


def test_the_docs_list_what_there_is_and_alerts_and_dashboard_use_no_other(mesh):
    there = set(Scrape(mesh.one).types)
    section, everywhere, in_a_cluster = metrics_of_docs()
    assert everywhere == {name for name in there if name.startswith("culvert_")}
    there |= in_a_cluster
    rules = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]
    expressions = re.findall(r"expr: (.*)", rules)
    assert len(expressions) == rules.count("alert:") > 5
    board = json.loads((ROOT / "deploy" / "grafana" / "culvert.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 10
    for expression in expressions + targets:
        assert (names_in(expression) or expression.startswith("up{")) and names_in(expression) <= there, expression


def test_alive_and_ready(mesh):
    assert curl(mesh.one, "/livez") == (200, "text/plain; charset=utf-8", "the main loop and all workers answer\n")
    assert curl(mesh.one, "/readyz") == (200, "text/plain; charset=utf-8", "ready\n")
    code, _, body = curl(mesh.one, "/readyz", "--head")
    assert code == 200 and "ready\n" not in body


def test_not_ready_says_why_in_one_sentence(mesh):
    """As on a kernel before 6.6, where another program is first on the wire's device and could lead past ours."""
    one = mesh.one
    assert one.end() == 0
    one.remove()
    place = ("dev", "eth0", "egress", "pref", "1")
    one.host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    one.host.run("tc", "filter", "add", *place, "bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1")
    one.start(wait=False, environment={"CULVERT_CLSACT": "1"})
    one.wait_log("not ready")
    code, _, body = curl(one, "/readyz")
    assert code == 503 and body == f"not ready: {one.status()['reason']}\n"
    assert body.count("\n") == 1 and "eth0" in body and "preference 1" in body
    assert Scrape(one)["culvert_ready"] == 0
    assert Scrape(one).by("culvert_devices", "state")["first"] == 0
    assert curl(one, "/livez")[0] == 200
    one.host.run("tc", "filter", "del", *place)
    one.host.ip("link set eth0 mtu 1480", "link set eth0 mtu 1500")  # something changes: tried again
    wait_for(lambda: curl(one, "/readyz")[0] == 200, "the daemon to be ready")
    assert one.end() == 0
    one.remove()
    one.start()


def test_a_refused_reload_is_counted(mesh):
    one = mesh.one
    before = Scrape(one).by("culvert_reload_failures_total", "what")
    one.nodes.write_text("nodes: 3\n")
    one.wait_log("kept the old nodes")
    after = wait_for(lambda: (s := Scrape(one)).by("culvert_reload_successful", "what")["nodes"] == 0 and s, "the fault to show")
    assert after.by("culvert_reload_failures_total", "what") == {**before, "nodes": before["nodes"] + 1}
    mesh.write_nodes(daemon=one)
    wait_for(lambda: Scrape(one).by("culvert_reload_successful", "what")["nodes"] == 1, "the nodes to be good again")


def test_a_peer_that_is_gone_shows_with_the_reason(mesh):
    two = mesh.two
    two.kill()
    with contextlib.suppress(OSError):
        mesh.net.a1.connect(mesh.net.b1.v4, 9, timeout=0.2).close()
    scrape = wait_for(lambda: (s := Scrape(mesh.one)).of("culvert_tunnels_failed_total", reason="refused") and s, "a refused tunnel to be counted")
    states = scrape.by("culvert_peers", "state")
    assert states["up"] == states["none"] == 0 and states["connecting"] == 1
    two.start()
    carry(mesh, 1000)
    wait_for(lambda: Scrape(mesh.one).by("culvert_peers", "state")["up"] == 1, "the peer to be up again")


@contextlib.contextmanager
def stopped_thread(thread):
    """A signal would stop the whole process: a tracer stops one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)

    def ptrace(request):
        if libc.ptrace(request, thread, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")

    ptrace(0x4206)  # PTRACE_SEIZE
    try:
        ptrace(0x4207)  # PTRACE_INTERRUPT
        os.waitpid(thread, 0x40000000)  # __WALL
        yield
    finally:
        ptrace(17)  # PTRACE_DETACH


@pytest.mark.long
def test_a_worker_that_stands_still_ends_the_life(mesh):
    one = mesh.one
    tasks = pathlib.Path(f"/proc/{one.process.pid}/task")
    worker = next(int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().startswith("culvert-"))
    with stopped_thread(worker):
        code, _, body = curl(one, "/livez")
        assert code == 503 and body == "no answer from the workers within 5000 ms\n"
        assert curl(one, "/readyz")[0] == 200
        assert curl(one, "/metrics")[0] == 503
    wait_for(lambda: curl(one, "/livez")[0] == 200, "the daemon to live again")
    assert Scrape(one)["culvert_ready"] == 1


# Who asks badly

def raw(daemon, data, end=True):
    """All that comes back."""
    with connect(daemon) as s:
        with contextlib.suppress(OSError):
            s.sendall(data)
            if end:
                s.shutdown(socket.SHUT_WR)
        return everything(s)


def connect(daemon):
    return daemon.host.connect("127.0.0.1", PORT)


def everything(s):
    data = b""
    with contextlib.suppress(OSError):
        while more := s.recv(65536):
            data += more
    return data


@pytest.mark.parametrize("request_line, code, sentence", [
    ("GET /", 404, b"there is no such page here; there are /metrics /livez /readyz\n"),
    ("GET /metrics/", 404, b"there is no such page here"),
    ("GET /../metrics", 404, b"there is no such page here"),
    ("POST /metrics", 405, b"GET and HEAD would be right\n"),
    ("DELETE /livez", 405, b"GET and HEAD would be right\n"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_there_gets_its_status_and_a_sentence(mesh, request_line, code, sentence):
    answer = raw(mesh.one, f"{request_line} HTTP/1.1\r\nHost: node1\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {code} ".encode()) and sentence in answer and b"\r\nConnection: close\r\n" in answer
    assert code != 405 or b"\r\nAllow: GET, HEAD\r\n" in answer


def test_a_body_is_refused(mesh):
    answer = raw(mesh.one, b"GET /metrics HTTP/1.1\r\nHost: node1\r\nContent-Length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"a request without a body would be right\n" in answer


def test_one_answer_a_connection(mesh):
    assert raw(mesh.one, 3 * b"GET /readyz HTTP/1.1\r\nHost: node1\r\n\r\n").count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize("data", [
    b"GET /metrics HTTP/1.1\r\nHost: node1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
    b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(20000)) + b"\r\n",
    b"x" * (1 << 20),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
    b"\r\n" * 100000,
    b"GET /metrics HTTP/9.9\r\n\r\n",
], ids=["huge header", "huge path", "many headers", "no line", "TLS", "empty lines", "version"])
def test_a_request_that_is_none_or_too_large_gets_an_error_or_an_end(mesh, data):
    answer = raw(mesh.one, data)
    assert not answer.startswith(b"HTTP/1.1 200 ")
    assert curl(mesh.one, "/livez")[0] == 200


@pytest.mark.long
def test_random_bytes_get_an_error_or_an_end(mesh):
    """All at once: the later ones push out the earlier."""
    chance = random.Random(PORT)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            whole = chance.randbytes(chance.choice((1, 2, 10, 100, 5000)))
            path = b"GET /" + chance.randbytes(chance.choice((1, 10, 100))) + b" HTTP/1.1\r\n\r\n"
            for data in (whole, path):
                s = stack.enter_context(connect(mesh.one))
                with contextlib.suppress(OSError):
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                stack.callback(lambda s=s: unanswered.append(everything(s)))
        unanswered = []
    assert len(unanswered) == 400 and not any(b" 200 " in answer for answer in unanswered)
    assert curl(mesh.one, "/livez")[0] == 200


@pytest.mark.long
def test_who_only_holds_connections_keeps_nobody_out_and_is_cut(mesh):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(mesh.one)) for _ in range(CONNECTIONS_MAX)]
        halves = [stack.enter_context(connect(mesh.one)) for _ in range(CONNECTIONS_MAX)]
        for s in halves:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHos")
        for _ in range(5):
            assert curl(mesh.one, "/readyz")[0] == 200
            assert Scrape(mesh.one)["culvert_ready"] == 1
        for s in silent + halves:
            assert b" 200 " not in everything(s)
    assert curl(mesh.one, "/livez")[0] == 200


def test_a_client_that_does_not_read_disturbs_nobody(mesh):
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            s = stack.enter_context(mesh.one.host.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            s.connect(("127.0.0.1", PORT))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: node1\r\n\r\n")
        for _ in range(5):
            assert Scrape(mesh.one)["culvert_ready"] == 1
        carry(mesh)


def test_many_good_clients_at_once_are_all_served(mesh):
    clients = [mesh.one.host.popen("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{PORT}/metrics", stdout=subprocess.PIPE) for _ in range(40)]
    assert [client.communicate(timeout=DEADLINE_S)[0] for client in clients] == [b"200"] * 40


# Where it listens

def test_an_address_in_use_gets_one_message_and_an_end(mesh):
    one = mesh.one
    assert one.end() == 0
    with one.host.listen(PORT, address="127.0.0.1"):
        one.log_path.unlink()
        one.start(wait=False)
        assert one.process.wait(DEADLINE_S) == 1
        errors = [line for line in one.log().splitlines() if "level=error" in line]
        assert len(errors) == 1 and f"listen=127.0.0.1:{PORT}" in errors[0] and "metrics.listen" in errors[0] and "Address already in use" in errors[0]
    one.start()
    assert curl(one, "/readyz")[0] == 200


def test_other_addresses_and_off(mesh):
    one = mesh.one
    for listen, url in (("[::1]:9200", "http://[::1]:9200/readyz"), ("0.0.0.0:9200", "http://10.99.0.1:9200/readyz"), ("[::]:9200", "http://127.0.0.1:9200/readyz")):
        one.end()
        one.write_config(metrics={"listen": listen})
        one.start()
        assert one.host.run("curl", "-sS", url).stdout == "ready\n"
        assert one.status()["metrics_listen"] == listen
    one.write_config(metrics={"listen": ""})
    one.signal(signal.SIGHUP)
    one.wait_log("key=metrics.listen")
    assert one.host.run("curl", "-sS", "http://127.0.0.1:9200/readyz").stdout == "ready\n"
    one.end()
    one.start()
    assert one.host.run("curl", "-sS", "http://127.0.0.1:9200/readyz", check=False).returncode == 7
    one.end()
    one.write_config()
    one.start()
    assert curl(one, "/readyz")[0] == 200


def test_while_it_ends_it_is_not_ready_and_lives(mesh):
    one = mesh.one
    listener = mesh.net.b1.listen()
    with listener, mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1]) as s:
        served, _ = listener.accept()
        with served:
            s.sendall(b"x")
            assert served.recv(1) == b"x"
            one.signal(signal.SIGTERM)
            wait_for(lambda: curl(one, "/readyz") == (503, "text/plain; charset=utf-8", "not ready: the daemon is ending\n"), "the end to show")
            assert curl(one, "/livez")[0] == 200 and Scrape(one)["culvert_draining"] == 1
    assert one.process.wait(DEADLINE_S) == 0
    one.start()
