#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.py [--modes M,M] [-k WORDS] [--long] [--doc FILE] [--junit FILE] - what programs notice of Culvert: nothing, or it is listed in known.toml.

Every case runs over plain forwarding and through Culvert in each mode, over IPv4 and IPv6, to a pod's address and to a Service's. All that a case tells is compared
word by word. Prints the table; ends with 1 where a difference is not listed, or a listed one is not there any more.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import importlib
import os
import pathlib
import signal
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "netns")]

import known as known_list  # noqa: E402 - after the path
import table  # noqa: E402
import wire  # noqa: E402
from lib import Failure  # noqa: E402
from places import Place, Wire  # noqa: E402
from scene import CASES, Scene  # noqa: E402

MODES = ("faithful", "optimistic")
GROUPS = ("connect", "data", "time", "addresses", "programs")
SIDE_BY_SIDE = 24  # scenes of one place at the same time: most of them wait for a timer
AGAIN_SIDE_BY_SIDE = 6
HEAVY_SIDE_BY_SIDE = 2  # in all places
HEAVY = threading.BoundedSemaphore(HEAVY_SIDE_BY_SIDE)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default=",".join(MODES), help="of Culvert's connect; plain forwarding always runs")
    parser.add_argument("-k", dest="words", default="", help="only cases whose group or name has one of these, separated by |")
    parser.add_argument("--long", action="store_true", help="also the cases that take minutes")
    parser.add_argument("--doc", type=pathlib.Path, help="a file whose table is to be made anew")
    parser.add_argument("--junit", type=pathlib.Path)
    parser.add_argument("--list", action="store_true", help="only the cases")
    return parser.parse_args()


def chosen_cases(arguments):
    for group in GROUPS:
        importlib.import_module(f"cases.{group}")
    words = [word for word in arguments.words.split("|") if word]
    return [case for case in CASES if (arguments.long or not case.is_long) and (not words or any(w in f"{case.group}: {case.name}" for w in words))]


class Run:
    """All cases at all places. results: {(case, version, way): {transport: what happened}}."""

    def __init__(self, cases, transports):
        self.cases, self.results = cases, collections.defaultdict(dict)
        self.places = []
        try:
            for transport in transports:
                self.places.append(Place(transport))
        except BaseException:
            self.close(check=False)
            raise

    def close(self, check=True):
        with contextlib.ExitStack() as all_of_them:
            for place in self.places:
                all_of_them.callback(place.close, check=check)

    def all(self):
        self.some([(case, version, way) for case in self.cases for version, way in case.scenes()], SIDE_BY_SIDE)

    def some(self, keys, side_by_side):
        """These at all places, phase by phase."""
        for key in keys:
            self.results[key].clear()  # and has its place in the order of the cases
        for phase, workers in (("together", side_by_side), ("heavy", HEAVY_SIDE_BY_SIDE), ("cut", 0)):
            scenes = [key for key in keys if key[0].phase == phase]
            if scenes:
                begin = time.monotonic()
                self._phase(scenes, workers or len(scenes), {place: Wire(place.net, len(scenes)) for place in self.places} if phase == "cut" else {})
                print(f"{phase}: {len(scenes)} scenes at each of {len(self.places)} places in {time.monotonic() - begin:.0f} s", flush=True)

    def _phase(self, keys, workers, wires):
        taps = {(place, pod): wire.Tap(pod, place.net, place.mesh.folder) for place in self.places for pod in (place.net.a1, place.net.b1)}
        ports = {}
        pool = concurrent.futures.ThreadPoolExecutor(workers * len(self.places))
        try:
            # place by place of one scene, so that the same ones are under way everywhere
            futures = {pool.submit(self._scene, place, key, wires.get(place)): (place, key) for key in keys for place in self.places}
            for future in concurrent.futures.as_completed(futures):
                place, key = futures[future]
                said, ports[place, key] = future.result()
                self.results[key][place.transport] = said
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an interrupt nobody waits for a scene that takes minutes
        for tap in taps.values():
            tap.stop()
        for place in self.places:
            for key in keys:
                if key[0].sees and not key[0].own_pods:
                    client, server = (taps[place, pod] for pod in (place.net.a1, place.net.b1))
                    self.results[key][place.transport] += sight(key[0].sees, client, server, ports[place, key])

    @staticmethod
    def _scene(place, key, cut_wire):
        """What a scene tells, and its port, by which what was seen of it is found."""
        case, version, way = key
        with HEAVY if case.phase == "heavy" else contextlib.nullcontext(), Scene(case, place, version, way, cut_wire) as scene:
            taps = [wire.Tap(pod, place.net, place.mesh.folder) for pod in (scene.client, scene.server)] if case.own_pods and case.sees else []
            try:
                said = case.act(scene)
                for tap in taps:
                    tap.stop()
                return said + (sight(case.sees, *taps, scene.port) if taps else ""), scene.port
            except Exception as failure:  # noqa: BLE001 - a case that breaks is a result, and never the end of the run
                where = traceback.extract_tb(failure.__traceback__)[-1]
                return f"{table.BROKEN} {failure} ({pathlib.Path(where.filename).name}:{where.lineno})".replace("\n", " "), scene.port


def sight(kind, client, server, port):
    """The part of an outcome that tcpdump saw."""
    packets = client.seen.get(port, [])
    if kind == "begin":
        return "; " + wire.answer_to_syn(packets, port, client.names)
    if kind == "end":
        return "; " + wire.endings(packets, port)
    return "; " + wire.marks(packets, server.seen.get(port, []), port)


def main():
    arguments = parse()
    cases = chosen_cases(arguments)
    if arguments.list:
        for case in cases:
            print(f"{case.group}: {case.name}")
        return 0
    if not cases:
        print("run.py: no case has these words", file=sys.stderr)
        return 2
    modes = [mode for mode in arguments.modes.split(",") if mode]
    listed = known_list.read(HERE / "known.toml")
    run = Run(cases, ["plain", *modes])
    finished = False
    try:
        run.all()
        doubtful = known_list.doubtful(run.results, listed, modes)
        if doubtful:
            # Few cores for three meshes: what differs is looked at once more, in more quiet.
            before = {key: dict(run.results[key]) for key in doubtful}
            run.some(doubtful, AGAIN_SIDE_BY_SIDE)
            for key in doubtful:
                if before[key] != run.results[key]:
                    print(f"at first: {table.title(key)}: {before[key]}")
        finished = True
    finally:
        run.close(check=finished)
    verdicts = known_list.judge(run.results, listed, modes, is_whole=not arguments.words and arguments.long)
    print(table.markdown(run.results, modes))
    for verdict in verdicts:
        if verdict.fault:
            print(f"FAILED {verdict.mode}: {verdict.name}: {verdict.fault}")
    faults = sum(bool(verdict.fault) for verdict in verdicts)
    print(table.summary(run.results, modes, listed) + f"; {faults} unexpected")
    if arguments.junit:
        table.write_junit(arguments.junit, verdicts)
    if arguments.doc:
        table.write_doc(arguments.doc, run.results, modes, listed)
    return 1 if faults else 0


def interrupt(*_):
    raise KeyboardInterrupt  # the meshes are taken down then


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("run.py: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # threads of scenes may still wait for sockets of namespaces that are gone
    except Failure as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        sys.exit(1)
