# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of known differences, and what it says of results: a difference that it lacks is a fault, and a line of it that nothing shows any more is one too."""

import fnmatch
import tomllib
import typing

import table
from lib import Failure


class Known(typing.NamedTuple):
    """One reason for differences. cases and becomes are patterns of the shell; every case that one of the first matches must differ, to one of the second.
    is_sometimes: which of the two it is, is a question of microseconds."""

    modes: tuple
    cases: tuple
    becomes: tuple
    reason: str
    effect: str
    is_sometimes: bool = False

    def covers(self, case, mode):
        return mode in self.modes and any(fnmatch.fnmatchcase(case.name, pattern) for pattern in self.cases)

    def says(self, text):
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in self.becomes)


class Verdict(typing.NamedTuple):
    mode: str
    group: str
    name: str
    fault: str


def read(path):
    listed = []
    for number, entry in enumerate(tomllib.loads(path.read_text()).get("difference", []), 1):
        wrong = set(entry) - {"is_sometimes"} ^ set(Known._fields) - {"is_sometimes"}
        if wrong:
            raise Failure(f"{path.name}: difference {number}: {', '.join(sorted(wrong))} must stand there once, and nothing else")
        listed.append(Known(**{field: tuple(value) if isinstance(value, list) else value for field, value in entry.items()}))
    return listed


def _fault(key, said, mode, listed):
    """What is wrong with one result of a mode, or "". """
    plain, ours = said["plain"], said[mode]
    if plain.startswith(table.BROKEN):
        return f"without Culvert {plain}"
    if plain == ours or any(known.covers(key[0], mode) and known.says(ours) for known in listed):
        return ""
    return f"without Culvert: {plain} | with it: {ours}"


def doubtful(results, listed, modes):
    """What is worth a second look: all that would be a fault."""
    faulty = {key for key, said in results.items() for mode in modes if _fault(key, said, mode, listed)}
    stale = {(known, mode, case) for known, mode, case in _stale(results, listed, modes)}
    return [key for key in results if key in faulty or any(key[0] is case for _, _, case in stale)]


def _stale(results, listed, modes):
    for known in listed:
        for mode in modes if not known.is_sometimes else ():
            for case in dict.fromkeys(key[0] for key in results):
                said = [said for key, said in results.items() if key[0] is case]
                if known.covers(case, mode) and all(one["plain"] == one[mode] for one in said):
                    yield known, mode, case


def judge(results, listed, modes, is_whole):
    """is_whole: every case has run, so that a pattern without a case is a fault."""
    verdicts, stale = [], {(mode, case.name) for _, mode, case in _stale(results, listed, modes)}
    for mode in modes:
        for case in dict.fromkeys(key[0] for key in results):
            faults = [f"{table.variant(key)}: {fault}" for key, said in results.items() if key[0] is case and (fault := _fault(key, said, mode, listed))]
            if (mode, case.name) in stale:
                faults.append("known.toml lists a difference that is not there")
            verdicts.append(Verdict(mode, case.group, case.name, "; ".join(faults)))
        for known in listed:
            for pattern in known.cases if is_whole and mode in known.modes else ():
                if not any(fnmatch.fnmatchcase(key[0].name, pattern) for key in results):
                    verdicts.append(Verdict(mode, "known.toml", pattern, "no case has this name"))
    return verdicts
