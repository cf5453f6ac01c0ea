# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs as Debian packages them, unmodified: their servers in one pod, their clients in another."""

import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess

from lib import DEADLINE_S, Failure, wait_for
from scene import POD, SERVICE, case, outcome

POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
VARIANTS = ((4, SERVICE), (6, POD))
FILE = os.urandom(8 << 20)


def program(name):
    return case("real programs", name, phase="heavy", variants=VARIANTS)


def folder_of(s, owner=None):
    """A folder of the scene, which another user may enter too."""
    s.place.mesh.folder.chmod(0o711)
    made = s.place.mesh.folder / f"scene{s.port}"
    made.mkdir()
    if owner:
        shutil.chown(made, owner)
    return made


def start(s, folder, *command, port=None, **options):
    """A server in the server's pod, until it listens."""
    with open(folder / "server.log", "ab") as log:
        process = s.keep(s.server.popen(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options))

    def listens():
        if process.poll() is not None:
            raise Failure(f"{command[0]} ended with {process.returncode}: {(folder / 'server.log').read_text(errors='replace')[-500:]}")
        with s.server.socket(s.family) as probe:
            return outcome(probe.connect, (s.server.address(s.version), port or s.port)) is None

    wait_for(listens, lambda: f"{command[0]} to listen: {(folder / 'server.log').read_text(errors='replace')[-500:]}")
    return process


def client(s, *command, stdin=None, environment=None):
    """A client in the client's pod, to its end: (exit status, what it said)."""
    words = ["nsenter", f"--net=/run/netns/{s.client.name}", "--", *map(str, command)]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=3 * DEADLINE_S, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout + done.stderr


def in_url(s):
    return f"[{s.address}]" if s.version == 6 else s.address


def found(pattern, text):
    match = re.search(pattern, text)
    return match[1] if match else f"nothing like {pattern!r} in {text[-300:]!r}"


@program("PostgreSQL: pgbench, and LISTEN with NOTIFY")
def postgresql(s):
    folder = folder_of(s, "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
    data = folder / "data"
    s.server.run(*as_postgres, POSTGRES / "initdb", "-D", data, "-A", "trust", "-N", timeout=3 * DEADLINE_S)
    with open(data / "pg_hba.conf", "a") as file:
        file.write("host all all all trust\n")
    start(s, folder, *as_postgres, POSTGRES / "postgres", "-D", data, "-h", s.server.address(s.version), "-p", s.port, "-k", "", "-c", "fsync=off")
    reach = ["-h", s.address, "-p", s.port, "-U", "postgres"]
    wait_for(lambda: client(s, "psql", *reach, "-c", "select 1")[0] == 0, "PostgreSQL to answer")
    said = [f"init {client(s, POSTGRES / 'pgbench', *reach, '-i', '-q', 'postgres')[0]}"]
    status, text = client(s, POSTGRES / "pgbench", *reach, "-c", 4, "-t", 100, "-n", "postgres")
    said.append(f"pgbench {status}, {found(r'actually processed: (.*)', text)} transactions, {found(r'failed transactions: (.*)', text)} failed")
    listener = s.keep(s.client.popen("psql", *reach, "-At", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True))
    listener.stdin.write("listen news;\nselect 'listening';\n")
    listener.stdin.flush()
    while (line := listener.stdout.readline()) and "listening" not in line:
        pass
    client(s, "psql", *reach, "-c", "notify news, 'from a pod'")
    text = listener.communicate("select 1;\n", timeout=DEADLINE_S)[0]
    said.append(f"heard {found(r'notification .(news). with payload', text)}")
    return ", ".join(said)


@program("Redis: pipelining, and a subscription")
def redis(s):
    folder = folder_of(s)
    start(s, folder, "redis-server", "--bind", s.server.address(s.version), "--port", s.port, "--protected-mode", "no", "--save", "", "--dir", folder)
    reach = ["-h", s.address, "-p", s.port]
    subscriber = s.keep(s.client.popen("redis-cli", *map(str, reach), "subscribe", "news", stdout=subprocess.PIPE, text=True, start_new_session=True))
    while (line := subscriber.stdout.readline()) and line.strip() != "1":
        pass
    commands = "".join(f"SET key{n} {'v' * 1000}\r\n" for n in range(10000))
    said = [found(r"(errors: \d+, replies: \d+)", client(s, "redis-cli", *reach, "--pipe", stdin=commands)[1])]
    said.append(f"keys: {client(s, 'redis-cli', *reach, 'dbsize')[1].strip()}")
    said.append(f"published to {client(s, 'redis-cli', *reach, 'publish', 'news', 'from a pod')[1].strip()}")
    said.append("heard: " + [subscriber.stdout.readline().strip() for _ in range(3)][2])
    return ", ".join(said)


@program("nginx: HTTP/1.1 with many requests on a connection, and HTTP/2")
def nginx(s):
    folder = folder_of(s)
    (folder / "file").write_bytes(FILE)
    (folder / "small").write_text("a small answer")
    address = s.server.address(s.version)
    h2 = s.next_port()
    bind = f"[{address}]" if s.version == 6 else address
    (folder / "nginx.conf").write_text(f"""daemon off; master_process off; user root; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
server {{ listen {bind}:{s.port}; root {folder}; }} server {{ listen {bind}:{h2} http2; root {folder}; }} }}
""")
    start(s, folder, "nginx", "-c", folder / "nginx.conf", "-e", folder / "error.log")
    base, base2 = f"http://{in_url(s)}:{s.port}", f"http://{in_url(s)}:{h2}"
    out = folder / "got"
    said = [f"curl {client(s, 'curl', '-sS', '-o', out, base + '/file')[0]} {'whole' if out.read_bytes() == FILE else 'not whole'}"]
    _, text = client(s, "curl", "-sSv", base + "/small", base + "/small")
    said.append(f"{text.count('a small answer')} answers on {text.count('Connected to')} connection")
    for name, options in (("HTTP/1.1", ["--h1", base + "/small"]), ("HTTP/2", [base2 + "/small"])):
        _, text = client(s, "h2load", "-n", 2000, "-c", 10, *(["-m", 20] if name == "HTTP/2" else []), *options)
        said.append(f"{name}: {found(r'requests: (.*)', text)}")
    return "; ".join(said)


@program("SSH: a session, and a port forward")
def ssh(s):
    folder = folder_of(s)
    for name in ("host", "user"):
        s.server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    shutil.copy(folder / "user.pub", folder / "authorized")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    start(s, folder, "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", folder / "host", "-o", f"ListenAddress={s.server.address(s.version)}", "-p", s.port,
          "-o", f"AuthorizedKeysFile={folder / 'authorized'}", "-o", "StrictModes=no", "-o", "UsePAM=no", "-o", f"PidFile={folder / 'pid'}",
          "-o", "PermitRootLogin=prohibit-password")
    options = ["-F", "none", "-i", folder / "user", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
               "-p", s.port]
    status, text = client(s, "ssh", *options, f"root@{s.address}", "echo said by $SSH_CONNECTION; exit 3")
    said = [f"exit {status}", "the client's address is seen" if f"said by {s.client.address(s.version)} " in text else text]
    s.server.run("ip", "link", "set", "lo", "up")
    inner, outer = s.next_port(), s.next_port()
    listener = s.keep(s.server.listen(inner, address="127.0.0.1"))
    listener.settimeout(DEADLINE_S)
    forward = s.keep(s.client.popen("ssh", *map(str, options), "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{outer}:127.0.0.1:{inner}", f"root@{s.address}",
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
    here = s.keep(wait_for(lambda: forwarded(s, forward, outer), "the port forward"))
    there = s.keep(listener.accept()[0])
    sender = s.in_background(lambda: (here.sendall(FILE), here.shutdown(socket.SHUT_WR)))
    got = b"".join(iter(lambda: there.recv(1 << 18), b""))
    sender.result()
    there.sendall(b"heard")
    return f"{', '.join(said)}, {'8 MB forwarded whole' if got == FILE else 'not whole'}, {here.recv(10)}"


def forwarded(s, forward, port):
    if forward.poll() is not None:
        raise Failure(f"ssh ended with {forward.returncode}")
    made = s.client.socket()
    made.settimeout(DEADLINE_S)
    if outcome(made.connect, ("127.0.0.1", port)) is None:
        return made
    made.close()
    return None


@program("rsync: a tree of files, from its daemon")
def rsync(s):
    folder = folder_of(s)
    tree, got = folder / "tree", folder / "got"
    for n in range(200):
        path = tree / f"folder{n % 10}" / f"file{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILE[n * 1000:n * 30000 + 7])
    (folder / "conf").write_text(f"use chroot = no\npid file = {folder}/pid\nuid = root\ngid = root\n[tree]\npath = {tree}\n")
    start(s, folder, "rsync", "--daemon", "--no-detach", f"--config={folder / 'conf'}", "--address", s.server.address(s.version), f"--port={s.port}")
    status, _ = client(s, "rsync", "-a", f"rsync://{in_url(s)}:{s.port}/tree/", f"{got}/")
    return f"exit {status}, {'the same tree' if digest_of(tree) == digest_of(got) else 'another tree'}"


def digest_of(tree):
    return {str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() for path in tree.rglob("*") if path.is_file()}


@program("iperf3, both ways at once")
def iperf3(s):
    folder = folder_of(s)
    start(s, folder, "iperf3", "-s", "-B", s.server.address(s.version), "-p", s.port)
    status, text = client(s, "iperf3", "-c", s.address, "-p", s.port, "--bidir", "-t", 2, "-P", 2, "-J")
    end = json.loads(text).get("end", {})
    both = all(end.get(way, {}).get("bytes", 0) > 0 for way in ("sum_sent", "sum_received", "sum_sent_bidir_reverse", "sum_received_bidir_reverse"))
    return f"exit {status}, {'bytes in both directions' if both else 'not in both directions'}"


@program("FTP: a file in passive and in active mode, each way")
def ftp(s):
    folder = folder_of(s)
    home = folder / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / "file").write_bytes(FILE)
    passive, address = [s.next_port() for _ in range(20)], s.server.address(s.version)
    (folder / "conf").write_text(f"""listen={'YES' if s.version == 4 else 'NO'}
listen_ipv6={'NO' if s.version == 4 else 'YES'}
{'listen_address' if s.version == 4 else 'listen_address6'}={address}
listen_port={s.port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={home}
pasv_min_port={min(passive)}
pasv_max_port={max(passive)}
port_promiscuous=YES
pasv_promiscuous=YES
secure_chroot_dir={home}
seccomp_sandbox=NO
connect_from_port_20=NO
""")
    start(s, folder, "vsftpd", folder / "conf")
    said = []
    for name, setting in (("passive", "true"), ("active", "false")):
        out = folder / f"got-{name}"
        script = (f"set net:max-retries 1; set net:timeout 20; set ftp:passive-mode {setting}; set ftp:fix-pasv-address no; open -p {s.port} {in_url(s)}; "
                  f"get file -o {out}; bye")
        status, text = client(s, "lftp", "-c", script)
        said.append(f"{name}: exit {status}, {'whole' if out.exists() and out.read_bytes() == FILE else text[-200:]}")
    return "; ".join(said)


def greeting(s, folder, command):
    """What a server says first to a client that says nothing."""
    start(s, folder, *command)
    here = s.connect().socket
    here.settimeout(DEADLINE_S)
    return here.recv(200)


@program("SMTP: the server's greeting")
def smtp(s):
    folder = folder_of(s)
    config = folder / "etc"
    config.mkdir()
    (folder / "queue").mkdir()
    shutil.copy("/usr/share/postfix/master.cf.dist", config / "master.cf")
    master = (config / "master.cf").read_text()
    bind = f"[{s.server.address(s.version)}]" if s.version == 6 else s.server.address(s.version)
    (config / "master.cf").write_text(re.sub(r"(?m)^smtp(\s+inet\s+n\s+-\s+)y(\s+-\s+-\s+smtpd)", rf"{bind}:{s.port}\1n\2", master))
    (folder / "data").mkdir()
    shutil.chown(folder / "data", "postfix")
    (config / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
inet_interfaces = all
myhostname = pod.example
maillog_file = /dev/stdout
smtpd_banner = pod.example ESMTP at your service
smtpd_peername_lookup = no
alias_maps =
""")
    (folder / "queue/pid").mkdir()
    s.server.run("postfix", "-c", config, "check", check=False)
    said = greeting(s, folder, ["/usr/lib/postfix/sbin/master", "-c", str(config), "-d"])
    return said.decode().strip()


@program("MySQL: the server's greeting, and a query")
def mysql(s):
    folder = folder_of(s, "mysql")
    data = folder / "data"
    s.server.run("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", f"--tmpdir={folder}",
                 "--auth-root-authentication-method=normal", "--skip-test-db", timeout=3 * DEADLINE_S)
    # A server that starts takes every temporary table out of its tmpdir, its neighbour's too where cases run side by side.
    said = greeting(s, folder, ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", f"--tmpdir={folder}", f"--socket={folder}/sock",
                                f"--pid-file={folder}/pid", f"--bind-address={s.server.address(s.version)}", f"--port={s.port}", "--skip-name-resolve", "--skip-grant-tables"])
    status, text = client(s, "mariadb", "--no-defaults", "-h", s.address, "-P", s.port, "-u", "root", "-Ne", "select 6 * 7")
    return f"greets with {'a version' if b'MariaDB' in said else said}, query: exit {status}, {text.strip()}"


WEB_SOCKET_SERVER = """
import asyncio, sys, websockets
async def serve(socket):
    async for message in socket:
        await socket.send(message[::-1])
async def main():
    async with websockets.serve(serve, sys.argv[1], int(sys.argv[2]), ping_interval=1, ping_timeout=20):
        await asyncio.Future()
asyncio.run(main())
"""
WEB_SOCKET_CLIENT = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ping_interval=1, ping_timeout=20) as socket:
        right = 0
        for n in range(int(sys.argv[2])):
            await socket.send(f"message {n}")
            right += await socket.recv() == f"message {n}"[::-1]
            await asyncio.sleep(float(sys.argv[3]))  # the stream is held, mostly idle
        print(right, "answers")
asyncio.run(main())
"""


def web_socket(messages, pause_s, s):
    folder = folder_of(s)
    start(s, folder, "/usr/bin/python3", "-c", WEB_SOCKET_SERVER, s.server.address(s.version), s.port)
    status, text = client(s, "/usr/bin/python3", "-c", WEB_SOCKET_CLIENT, f"ws://{in_url(s)}:{s.port}", messages, pause_s)
    return f"exit {status}, {text.strip()}"


program("a WebSocket, held for 10 s")(functools.partial(web_socket, 20, 0.5))
case("real programs", "a WebSocket, held for 2 minutes", phase="heavy", variants=VARIANTS, is_long=True)(functools.partial(web_socket, 24, 5))
