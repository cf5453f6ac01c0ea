# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API server: a whole cluster as it would list it, in its own protobuf, and pods that come and go as fast as wanted. Costs next to
nothing while it runs, so that what is measured beside it is the daemons'.

    replay = Replay(hosts, nodes=500, pods=30000)      # two real nodes with their pods, and others that are only told of
    replay.serve(host)                                 # an address inside a node's namespace: http://127.0.0.1:PORT
    with replay.changing(200): ...                     # 200 pods a second go or come
"""

import contextlib
import http.server
import itertools
import socketserver
import threading
import time
import urllib.parse

RECORDS, PORT_KEY = "culvert-nodes", "culvert.dev/port"
MANAGED_BYTES = 4500  # of managedFields: pods of today have about 6 KB
BOOKMARK_S = 20
KINDS = {"nodes": "Node", "pods": "Pod", "namespaces": "Namespace", "leases": "Lease", "endpoints": "Endpoints"}


# Protobuf: a field is its number and kind, then its bytes.


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """Text and bytes as they are, an int as a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(kind, data):
    return b"k8s\0" + field(1, field(2, kind)) + field(2, data)


def listed(kind, objects, version):
    return envelope(kind + "List", field(1, field(2, version)) + b"".join(field(2, o) for o in objects))


def event(what, kind, data):
    message = field(1, what) + field(2, field(1, envelope(kind, data)))
    return len(message).to_bytes(4, "big") + message


# Objects


def meta(name, namespace="", uid=None, version="1", more=b""):
    return field(1, field(1, name) + field(3, namespace) + field(5, uid or name) + field(6, version) + more)


def node(name, addresses):
    return meta(name) + field(3, b"".join(field(5, field(1, "InternalIP") + field(2, address)) for address in addresses))


def record(name):
    owner = field(13, field(1, "Node") + field(3, name) + field(4, name) + field(5, "v1"))
    return meta(name, RECORDS, more=field(12, field(1, PORT_KEY) + field(2, "7117")) + owner)


def pod(name, on, addresses, version="1"):
    filler = field(17, field(1, "kubelet") + field(7, field(1, "f:status " * (MANAGED_BYTES // 9))))
    return (meta(name, "default", version=version, more=filler) + field(2, field(10, on)) +
            field(3, field(1, "Running") + field(6, addresses[0]) + b"".join(field(12, field(1, address)) for address in addresses)))


def other_address(number):
    """Three digits everywhere, so that all pods have one length."""
    return f"10.{100 + number // 10000}.{100 + number // 100 % 100}.{100 + number % 100}"


class Replay:
    def __init__(self, hosts, nodes, pods):
        names = [f"other-{number:04d}" for number in range(nodes - len(hosts))]
        self._pods = [self._other(number, names) for number in range(pods)]
        real = [pod(p.name, host.node_name, [p.v4, p.v6]) for host in hosts for p in host.pods]
        nodes = [node(host.node_name, [host.v4, host.v6]) for host in hosts]
        nodes += [node(name, [f"172.30.{number // 250}.{number % 250 + 1}"]) for number, name in enumerate(names)]
        records = [record(name) for name in [host.node_name for host in hosts] + names]
        objects = {"nodes": nodes, "namespaces": [meta("default")], "leases": records, "pods": real + self._pods, "endpoints": []}
        self._lists = {plural: listed(kind, objects[plural], "1") for plural, kind in KINDS.items()}
        self._watches = {plural: [] for plural in self._lists}
        self._lock = threading.Lock()
        self._is_open = True
        self._changes = itertools.count()
        self._servers = []
        threading.Thread(target=self._bookmarks, daemon=True).start()

    @staticmethod
    def _other(number, names):
        return pod(f"backend-6d5f7c9b48-{number:06d}", names[number % len(names)], [other_address(number)])

    def serve(self, host):
        replay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                replay.answer(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a daemon that ends breaks its connections off

        server = Server(None, Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = host.listen(address="127.0.0.1")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    def answer(self, request):
        path, _, query = request.path.partition("?")
        plural = path.rpartition("/")[2]
        if plural not in self._lists:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Type", "application/vnd.kubernetes.protobuf")
        if "watch" not in urllib.parse.parse_qs(query):
            request.send_header("Content-Length", str(len(self._lists[plural])))
            request.end_headers()
            request.wfile.write(self._lists[plural])
            return
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.close_connection = True
        over = threading.Event()
        with self._lock:
            self._watches[plural].append((request.wfile, over))
        over.wait()  # others write to it

    def _tell(self, plural, data):
        chunk = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        with self._lock:
            for watch in list(self._watches[plural]):
                try:
                    watch[0].write(chunk)
                except OSError:
                    self._watches[plural].remove(watch)
                    watch[1].set()

    def _bookmarks(self):
        while self._is_open:
            time.sleep(BOOKMARK_S)
            for plural, kind in KINDS.items():
                self._tell(plural, event("BOOKMARK", kind, meta("", version=str(next(self._changes) + 2))))

    def watches(self, plural):
        with self._lock:
            return len(self._watches[plural])

    @contextlib.contextmanager
    def changing(self, rate):
        """One pod after the other, spread over all nodes, is deleted and comes again; evenly, so many changes a second. 0: none."""
        stop = threading.Event()

        def change():
            began = time.monotonic()
            for number in itertools.count():
                if stop.wait(max(0.0, began + number / rate - time.monotonic())):
                    return
                turn = next(self._changes)
                one = self._pods[turn // 2 * 7919 % len(self._pods)]
                self._tell("pods", event("ADDED" if turn % 2 else "DELETED", KINDS["pods"], one))

        thread = threading.Thread(target=change, daemon=True)
        if rate:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if rate:
                thread.join()

    def close(self):
        self._is_open = False
        for server in self._servers:
            server.shutdown()
            server.server_close()
        with self._lock:
            for watches in self._watches.values():
                for _, over in watches:
                    over.set()
