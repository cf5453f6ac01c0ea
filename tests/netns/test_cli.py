# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines, the files and the status socket: what bad input gets. Each fault names the file, the line or key, the value, and what would be right."""

import concurrent.futures
import contextlib
import random
import select
import shutil
import signal
import socket

import pytest

from lib import DEADLINE_S, HERE, run, wait_for
from mesh import Mesh, nodes_yaml, program

STATUS_REQUEST = b"\x02\x0a\x00"  # as proto/status.proto has it: two bytes, field 1 (status), empty
CLIENTS_MAX = 32


@pytest.fixture(scope="module")
def mesh():
    with Mesh() as m:
        yield m


@pytest.fixture
def folder(mesh, tmp_path):
    """Files that are good for node1, for --check."""
    shutil.copytree(mesh.one.identity, tmp_path / "identity")
    (tmp_path / "nodes.yaml").write_text(nodes_yaml(mesh.usual_nodes()))
    return tmp_path


def config(folder, more="", node="node: node1", runtime="runtime_directory: /run/culvert", identity=None, nodes=None):
    """Lines 1 to 4, then more."""
    path = folder / "culvert.yaml"
    path.write_text("\n".join([node, runtime, identity or f"identity: {{directory: {folder}/identity}}", nodes or f"nodes: {{file: {folder}/nodes.yaml}}", more]) + "\n")
    return path


def check(path, *words):
    return run(program("culvertd"), "--config", path, *words, "--check", check=False)


def refusal(path):
    """The one sentence that a bad file gets."""
    done = check(path)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("culvertd: ")
    return done.stderr.removeprefix("culvertd: ").rstrip("\n")


# Files

def test_check_says_that_good_files_are_good(folder):
    path = config(folder)
    done = check(path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == f"{path}: good: node node1, 2 nodes, certificate spiffe://cluster.local/ns/culvert/node/node1\n"


@pytest.mark.parametrize("line", ["node: node3", "log: {}"], ids=["other", "none"])
def test_node_on_the_command_line_takes_the_place_of_the_files(folder, line):
    path = config(folder, node=line)
    done = check(path, "--node", "node1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: good: node node1, 2 nodes, certificate spiffe://cluster.local/ns/culvert/node/node1\n"


@pytest.mark.parametrize("node, sentence", [
    ("Node_1", "--node: \"Node_1\" is no node's name; a node's name (small letters, digits, and inside them - and .), such as node1 would be right"),
    ("", "--node: \"\" is no node's name; "),
    ("node9", "this node's must be for URI:spiffe://cluster.local/ns/culvert/node/node9"),
], ids=["form", "empty", "stranger"])
def test_a_bad_node_on_the_command_line_gets_one_sentence(folder, node, sentence):
    done = check(config(folder), "--node", node)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and sentence in done.stderr, done.stderr


@pytest.mark.parametrize("more, sentence", [
    ("tunnel: {port: 70000}", '5: tunnel.port: "70000" is out of range; a number from 1 to 65535 would be right'),
    ("tunnel: {port: http}", '5: tunnel.port: "http" is no number; a number from 1 to 65535 would be right'),
    ("tunnel:\n  workers: 9", '6: tunnel.workers: "9" is out of range; a number from 0 to 8 would be right'),
    ("tunnel: {prot: 7117}", '5: key "tunnel.prot" is not known; is tunnel.port meant?'),
    ("tunnel: {peer_timeout: 120}", '5: tunnel.peer_timeout: "120" has no unit; a duration from 1s to 24h, such as 500ms, 30s, 10m or 1h would be right'),
    ("tunnel: {peer_timeout: 3 weeks}", '5: tunnel.peer_timeout: "3 weeks" has a unit that is not known; '),
    ("tunnel: {memory: 1}", '5: tunnel.memory: "1" has no unit; a size from 1MiB to 1TiB, such as 512KiB, 256MiB or 1GiB would be right'),
    ("tunnel: 7117", "5: tunnel: is a text; a map with keys such as "),
    ("tunnel: {port: 1}\ntunnel: {port: 2}", '6: key "tunnel" is there twice (first in line 5); once would be right'),
    ("capture: {mode: stirct}", '5: capture.mode: "stirct" is not known; permissive or strict or lockdown would be right'),
    ("capture: {connect: fast}", '5: capture.connect: "fast" is not known; faithful or optimistic would be right'),
    ("capture: {devices: []}", "5: capture.devices: the list is empty; auto, or at least one device, would be right"),
    ("capture: {devices: [eth0, eth0]}", '5: capture.devices: "eth0" is there twice'),
    ("capture: {cluster_pods: [10.88.0.1/16]}", '5: capture.cluster_pods: "10.88.0.1/16" '),
    ("capture: {exclude: [udp/53]}", '5: capture.exclude: "udp/53": only TCP is captured, so there is nothing else to leave alone; tcp/9100 would be right'),
    ("capture: {exclude: [tcp/]}", '5: capture.exclude: "tcp/" has no port; tcp/ and a number from 1 to 65535 would be right'),
    ("log: {level: loud}", '5: log.level: "loud" is not known; debug or info or warn or error would be right'),
    ("frobnicate: 1", '5: key "frobnicate" is not known; the keys here are node, '),
    ("tunnel: {port: *x}", "5: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it"),
    ("tunnel: {port: 7117", "not valid YAML: "),
    ("\ttunnel: 1", "not valid YAML: "),
    ("---\nnode: node1", "a second document begins; one would be right"),
])
def test_a_bad_setting_is_named_with_its_line_its_value_and_what_would_be_right(folder, more, sentence):
    path = config(folder, more)
    said = refusal(path)
    assert said.startswith(f"{path}:") and sentence in said, said


@pytest.mark.parametrize("line, sentence", [
    (dict(node="log: {}"), "node is missing; a node's name (small letters, digits, and inside them - and .), such as node1 would be right"),
    (dict(node="node: Node_1"), '1: node: "Node_1" is no node\'s name; '),
    (dict(node="node: [node1]"), "1: node: is a list; "),
    (dict(node="node:"), "1: node: has no value; "),
    (dict(runtime="runtime_directory: run/culvert"), '2: runtime_directory: "run/culvert" is no absolute path; '),
    (dict(runtime="runtime_directory: /run/cul.vert"), '2: runtime_directory: "/run/cul.vert" has another last part than can be named in the kernel\'s bpffs; '),
    (dict(identity="log: {}"), "identity.directory is missing; an absolute path would be right"),
    (dict(nodes="log: {}"), "nodes.file is missing; an absolute path, or in its place nodes: {kubernetes: {}}, would be right"),
    (dict(node="node: node3"), "the certificate is for URI:spiffe://cluster.local/ns/culvert/node/node1, this node's must be for URI:spiffe://cluster.local/ns/culvert/node/node3"),
    (dict(identity="identity: {directory: /nonexistent}"), "/nonexistent: No such file or directory"),
    (dict(nodes="nodes: {file: /nonexistent}"), "/nonexistent: can not be opened: No such file or directory"),
], ids=str)
def test_what_must_be_given_is_named_with_what_would_be_right(folder, line, sentence):
    said = refusal(config(folder, **line))
    assert sentence in said, said


def test_check_with_kubernetes_checks_what_needs_no_api_server(folder):
    path = config(folder, nodes="nodes: {kubernetes: {}}")
    said = run(program("culvertd"), "--config", path, "--check").stdout
    assert said.startswith(f"{path}: good: node node1, nodes from the Kubernetes API (not asked), certificate spiffe://"), said
    path = config(folder, nodes="nodes: {kubernetes: {}}", identity="identity: {directory: /nonexistent}")
    said = run(program("culvertd"), "--config", path, "--check").stdout
    assert "no certificate yet: /nonexistent: " in said, said


@pytest.mark.parametrize("template, sentence", [
    ("spiffe://x/{node}", "does not say what kind of name it is; URI:..., DNS:... or shared would be right"),
    ("URI:spiffe://x/all", "has no {node}, so that all nodes would have one name; with {node}, or the single word shared, it would be right"),
    ("URI:spiffe://x/{node}/{node}", "has {node} twice, so that a name could be read in two ways; once would be right"),
    ("URI:spiffe://x/{pod}", "is known only where the nodes come from Kubernetes"),
    ("DNS:*.{node}", "has a *, and names are compared byte for byte; {node} stands for the node's name"),
])
def test_a_bad_template_of_names_is_refused(folder, template, sentence):
    path = config(folder, identity=f"identity:\n  directory: {folder}/identity\n  peer_name: '{template}'")
    assert refusal(path).startswith(f"{path}:5: identity.peer_name: ") and sentence in refusal(path), refusal(path)


NODE1 = "- {name: node1, addresses: [10.99.0.1], pods: [10.88.1.0/24]}"


@pytest.mark.parametrize("text, sentence", [
    ("", "1: nothing in it; nodes: with a list of nodes would be right"),
    ("nodes: 3", "1: nodes is a text; a list of nodes would be right"),
    ("ndoes: []", '1: key "ndoes" is not known; is nodes meant?'),
    (f"nodes:\n{NODE1}\n- {{addresses: [10.99.0.2], pods: []}}", "3: a node without name; name: node1 would be right"),
    (f"nodes:\n{NODE1}\n- {{name: Node2, addresses: [10.99.0.2], pods: []}}", '3: name "Node2" is not a node\'s; small letters, digits, and inside them - and . would be right'),
    (f"nodes:\n{NODE1}\n- {{name: node2, pods: []}}", "3: node node2 has no addresses; addresses: [172.30.0.1] would be right"),
    (f"nodes:\n{NODE1}\n- {{name: node2, addresses: [10.99.0.2]}}", "3: node node2 has no pods; pods: [10.245.1.0/24], or pods: [] for none, would be right"),
    (f"nodes:\n{NODE1}\n- {{name: node2, addresses: [10.99.0.256], pods: []}}", '3: "10.99.0.256" in addresses is no IP address; one such as 172.30.0.1 or fd30::1 would be right'),
    (f"nodes:\n{NODE1}\n- {{name: node2, addresses: [10.99.0.2], pods: [10.88.2.0/33]}}", '3: "10.88.2.0/33" in pods '),
    (f"nodes:\n{NODE1}\n- {{name: node2, addresses: [10.99.0.2], pods: [10.88.1.0/24]}}", "3: pods' prefix 10.88.1.0/24 of node node2 is also a pods' prefix of node node1; one owner would be right"),
    (f"nodes:\n{NODE1}\n- {{name: node2, addresses: [10.99.0.1], pods: []}}", "3: address 10.99.0.1 of node node2 is also an address of node node1; one owner would be right"),
    (f"nodes:\n{NODE1}\n{NODE1}", "is there twice; once, with all its addresses and pods, would be right"),
    ("nodes:\n- {name: node11, addresses: [10.99.0.1], pods: []}", 'this node, "node1", is not among the 1 nodes; is node11 meant?'),
    ("nodes: [\xff]", "not valid "),
])
def test_a_bad_nodes_file_is_named_with_its_line_and_what_would_be_right(folder, text, sentence):
    (folder / "nodes.yaml").write_text(text + "\n", encoding="latin-1")
    said = refusal(config(folder))
    assert said.startswith(f"{folder}/nodes.yaml:") and sentence in said, said


def test_the_table_in_docs_is_what_the_program_prints():
    lines = (HERE.parent.parent / "docs" / "settings.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert run(program("culvertd"), "--settings").stdout.splitlines() == table


# Command lines

@pytest.mark.parametrize("words, sentence", [
    ([], "culvertd: --config FILE is needed"),
    (["--check"], "culvertd: --config FILE is needed"),
    (["--config"], "option '--config' requires an argument"),
    (["--config", "x", "--node"], "option '--node' requires an argument"),
    (["--frob"], "unrecognized option '--frob'"),
    (["--config", "x", "more"], 'culvertd: unexpected argument "more"'),
    (["--config", "x", "--check", "--remove"], "culvertd: --check and --remove exclude each other"),
    (["--config", "/nonexistent"], "culvertd: /nonexistent: can not be opened: No such file or directory"),
    (["--config", "/nonexistent", "--remove"], "culvertd: /nonexistent: can not be opened: No such file or directory"),
    (["--config", "/"], "culvertd: /: is not a file"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_culvertd_ends_with_2_for_bad_usage(words, sentence):
    done = run(program("culvertd"), *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


@pytest.mark.parametrize("words, sentence", [
    ([], "usage: culvertctl "),
    (["frob"], 'culvertctl: there is no command "frob"'),
    (["statsu"], "culvertctl: did you mean status?"),
    (["-o", "xml", "status"], 'culvertctl: -o is table or json, not "xml"'),
    (["status", "more"], 'culvertctl: unexpected argument "more"'),
    (["status", "--frob"], "unrecognized option '--frob'"),
    (["peers", "--limit", "3"], "culvertctl: peers has no option --limit"),
    (["streams", "--limit", "0"], "culvertctl: --limit 0: must be 1 to 65536"),
    (["top", "-o", "json"], 'culvertctl: there is no -o json for "top"'),
    (["ca"], "culvertctl: ca needs init or issue"),
    (["ca", "init"], "culvertctl: ca init needs one folder"),
    (["ca", "init", "--days", "0", "/nonexistent/x"], "culvertctl: --days 0: must be 1 to 36500"),
    (["ca", "issue", "/nonexistent"], "culvertctl: ca issue needs the authority's folder and a node"),
    (["ca", "issue", "/nonexistent", "../node"], 'culvertctl: "../node" is no node\'s name'),
    (["ca", "issue", "--name", "URI:x", "/nonexistent", "node1"], "culvertctl: --name: "),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_culvertctl_ends_with_2_for_bad_usage(words, sentence):
    done = run(program("culvertctl"), *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_help_and_version_are_no_faults():
    for name in ("culvertd", "culvertctl"):
        for word in ("--help", "--version"):
            done = run(program(name), word)
            assert done.stdout.startswith(("usage: " if word == "--help" else "") + name) and done.stderr == ""


def test_culvertctl_says_by_its_exit_status_what_came_out(mesh):
    one = mesh.one
    for words in (["status"], ["peers"], ["peers", "node2"], ["streams"], ["streams", "--ended"], ["certs"], ["counters"], ["check"], ["top", "--rounds", "1"]):
        done = one.ctl(*words, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout
    done = one.ctl("peers", "node9", check=False)
    assert (done.returncode, done.stderr) == (1, "culvertctl: no node is named node9\n")
    mesh.write_nodes([("node2", ["10.99.0.2"], [])], one)
    one.wait_log("kept the old nodes")
    done = one.ctl("check", check=False)
    assert done.returncode == 1 and "is not among the 1 nodes" in " ".join(done.stdout.split())
    mesh.write_nodes(daemon=one)
    wait_for(lambda: one.ctl("check", check=False).returncode == 0, "all to be well again")
    done = run(program("culvertctl"), "--socket", "/nonexistent/status.sock", "status", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "culvertctl: no daemon answers at /nonexistent/status.sock: is culvertd running, and is --socket right?\n"


def test_ca_never_overwrites_an_authority(tmp_path):
    run(program("culvertctl"), "ca", "init", tmp_path / "ca")
    before = (tmp_path / "ca" / "ca.key").read_bytes()
    done = run(program("culvertctl"), "ca", "init", tmp_path / "ca", check=False)
    assert done.returncode == 1 and f"{tmp_path}/ca" in done.stderr
    assert (tmp_path / "ca" / "ca.key").read_bytes() == before
    done = run(program("culvertctl"), "ca", "issue", tmp_path / "none", "node1", check=False)
    assert done.returncode == 1 and f"{tmp_path}/none" in done.stderr


# The status socket

def connect(daemon):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(daemon.runtime / "status.sock"))  # waits where the queue is full, which it would not with a timeout
    s.settimeout(DEADLINE_S)
    return s


def is_answered(daemon):
    done = daemon.ctl("status", check=False)
    return done.returncode == 0 and "node1" in done.stdout


def end_of(s):
    """All that comes until the daemon closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):  # it closed while bytes of ours were unread: an end too
        while more := s.recv(65536):
            data += more
    return data


def send_all_and_end(daemon, data):
    with connect(daemon) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        return end_of(s)


def test_random_bytes_on_the_status_socket_get_an_error_or_an_end(mesh):
    chance = random.Random(7117)
    for _ in range(300):
        send_all_and_end(mesh.one, chance.randbytes(chance.choice((1, 2, 3, 10, 100, 5000))))
    assert is_answered(mesh.one)


@pytest.mark.parametrize("data", [
    b"\xff" * 10, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x81\x80\x04", b"\x00", b"\x02\x0a\x05", b"\x02\x7a\x00", b"\x03\x0a\x02",
], ids=["endless length", "huge length", "length 65537", "nothing", "cut inside", "unknown question", "half and an end"])
def test_a_bad_request_gets_an_error_with_a_sentence(mesh, data):
    assert b"bad_request" in send_all_and_end(mesh.one, data)
    assert is_answered(mesh.one)


def test_one_connection_may_ask_many_times(mesh):
    with connect(mesh.one) as s:
        for _ in range(3):
            s.sendall(STATUS_REQUEST)
            assert b"node1" in s.recv(65536)
    assert send_all_and_end(mesh.one, 5 * STATUS_REQUEST).count(b"foreign_claims") == 5


def test_half_a_request_and_silence_do_not_stop_a_good_client_and_are_closed(mesh):
    with connect(mesh.one) as silent, connect(mesh.one) as half, connect(mesh.one) as deaf:
        half.sendall(STATUS_REQUEST[:2])
        deaf.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:  # asks and never reads, until nothing more fits
                deaf.sendall(1000 * STATUS_REQUEST)
        for _ in range(5):
            assert is_answered(mesh.one)
        for s in (silent, half):
            assert end_of(s) == b""
        hung_up = select.poll()
        hung_up.register(deaf, 0)
        assert hung_up.poll(DEADLINE_S * 1000), "a client that does not take its answers is kept for ever"
    assert is_answered(mesh.one)


def test_forty_silent_clients_leave_a_busy_answer_and_no_stuck_socket(mesh):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(mesh.one)) for _ in range(CLIENTS_MAX + 8)]
        for s in clients[CLIENTS_MAX:]:
            assert b"busy" in end_of(s)
        done = mesh.one.ctl("status", check=False)
        assert done.returncode == 1 and "(busy)" in done.stderr
        clients[0].close()
        wait_for(lambda: is_answered(mesh.one), "a place to be free")
    wait_for(lambda: is_answered(mesh.one), "the socket to serve again")


def test_forty_good_clients_at_once_are_served_or_told_busy(mesh):
    with concurrent.futures.ThreadPoolExecutor(CLIENTS_MAX + 8) as pool:
        ends = list(pool.map(lambda _: mesh.one.ctl("status", check=False), range(CLIENTS_MAX + 8)))
    assert all(done.returncode == 0 or "(busy)" in done.stderr for done in ends), [done for done in ends if done.returncode][:3]
    assert sum(done.returncode == 0 for done in ends) >= CLIENTS_MAX


# One daemon in a folder

def test_a_second_daemon_in_the_same_folder_is_refused_and_the_first_goes_on(mesh):
    done = mesh.net.a.run(program("culvertd"), "--config", mesh.one.config, check=False)
    assert done.returncode == 1
    assert "another culvertd has this runtime_directory" in done.stderr and f"{mesh.one.runtime}/lock" in done.stderr
    assert is_answered(mesh.one)


def test_remove_is_refused_while_the_daemon_runs(mesh):
    done = mesh.net.a.run(program("culvertd"), "--config", mesh.one.config, "--remove", check=False)
    assert done.returncode == 1 and "another culvertd has this runtime_directory" in done.stderr
    assert is_answered(mesh.one) and mesh.one.pins.exists()


def test_a_socket_file_that_a_dead_daemon_left_is_replaced(mesh):
    path = mesh.one.runtime / "status.sock"
    mesh.one.kill()
    before = path.stat().st_ino
    done = mesh.one.ctl("status", check=False)
    assert done.returncode == 3 and "no daemon answers at" in done.stderr
    mesh.one.start()
    assert path.stat().st_ino != before
    assert is_answered(mesh.one)


def test_a_file_in_the_place_of_the_socket_is_named_and_left_alone(mesh):
    path = mesh.one.runtime / "status.sock"
    assert mesh.one.end() == 0
    assert not path.exists()
    path.write_text("somebody's notes")
    try:
        done = mesh.net.a.run(program("culvertd"), "--config", mesh.one.config, check=False)
        assert done.returncode == 1 and f"{path} is there and no socket: move it away" in done.stderr
        assert path.read_text() == "somebody's notes"
    finally:
        path.unlink(missing_ok=True)
        mesh.one.start()


def test_term_and_int_end_it_with_0(mesh):
    for number in (signal.SIGTERM, signal.SIGINT):
        mesh.one.signal(number)
        assert mesh.one.process.wait(60) == 0
        assert not (mesh.one.runtime / "status.sock").exists()
        mesh.one.start()
