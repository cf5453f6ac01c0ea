# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as a table of Markdown, as the documentation's chapter, and as JUnit."""

import itertools
import xml.etree.ElementTree as ElementTree

BROKEN = "could not be told:"
BEGIN, END = "<!-- made by tests/fidelity/run.py --doc: begin -->", "<!-- end -->"


def variant(key):
    return f"IPv{key[1]}, {key[2]}"


def title(key):
    return f"{key[0].name} ({variant(key)})"


def _cell(text):
    return text.replace("|", "\\|")


def _variants(case, keys):
    """Which of a case's scenes a row is about; nothing where it is about all."""
    if len(keys) == len(case.scenes()):
        return ""
    for version in (4, 6):
        if {key for key in keys} == {(case, *scene) for scene in case.scenes() if scene[0] == version}:
            return f" (IPv{version})"
    for way in dict.fromkeys(scene[1] for scene in case.scenes()):
        if {key for key in keys} == {(case, *scene) for scene in case.scenes() if scene[1] == way}:
            return f" ({way})"
    return f" ({'; '.join(variant(key) for key in keys)})"


def rows(results, modes):
    """(group, case and which of its scenes, what plain forwarding did, what each mode did)."""
    for case in dict.fromkeys(key[0] for key in results):
        keys = [key for key in results if key[0] is case]
        told = lambda key: tuple(results[key][transport] for transport in ("plain", *modes))  # noqa: E731
        for outcome, same in itertools.groupby(sorted(keys, key=told), key=told):
            yield case.group, case.name + _variants(case, list(same)), outcome[0], outcome[1:]


def markdown(results, modes):
    lines = [f"| case | without Culvert | {' | '.join(modes)} |", "|---|---|" + "---|" * len(modes)]
    group = ""
    for its_group, name, plain, ours in rows(results, modes):
        if its_group != group:
            group = its_group
            lines.append(f"| **{group}** | |{' |' * len(modes)}")
        lines.append(f"| {_cell(name)} | {_cell(plain)} | {' | '.join('same' if text == plain else _cell(text) for text in ours)} |")
    return "\n".join(lines)


def _differing(results, mode):
    return [case for case in dict.fromkeys(key[0] for key in results) if any(said["plain"] != said[mode] for key, said in results.items() if key[0] is case)]


def summary(results, modes, listed):
    cases = len({key[0].name for key in results})
    parts = [f"{mode}: {len(_differing(results, mode))} of {cases} cases differ" for mode in modes]
    return f"{cases} cases, {len(results)} scenes; " + "; ".join(parts)


def write_doc(path, results, modes, listed):
    """The part of the file between the marks."""
    text = [summary(results, modes, listed) + ".", "", "## Differences", ""]
    for known in listed:
        said = [f"- **{', '.join(known.modes)}**: {known.reason}", f"  *Effect:* {known.effect}", f"  *Cases:* {'; '.join(known.cases)}."]
        text += said if any(mode in modes for mode in known.modes) else []
    if not listed:
        text.append("None.")
    text += ["", "## All cases", "", markdown(results, modes)]
    whole = path.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for the table, between {BEGIN} and {END}")
    path.write_text(before + BEGIN + "\n\n" + "\n".join(text) + "\n\n" + END + after)


def write_junit(path, verdicts):
    suite = ElementTree.Element("testsuite", name="fidelity", tests=str(len(verdicts)), failures=str(sum(bool(v.fault) for v in verdicts)))
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=verdict.mode, name=f"{verdict.group}: {verdict.name}")
        if verdict.fault:
            ElementTree.SubElement(case, "failure", message="another outcome than without Culvert").text = verdict.fault
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
