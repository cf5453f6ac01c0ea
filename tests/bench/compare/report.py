# SPDX-License-Identifier: GPL-3.0-or-later
"""What the measurements come to: medians, spread, ratios to plain; a table, and what became worse. Only arithmetic and text: tests/netns/test_bench_report.py.

samples: {key of a figure: {subject: [a value for each round]}}; figures: what workloads.py calls Figure.
"""

import statistics

BASE = "plain"
SECOND_BASE = "haproxy"  # for what plain has none of, as the CPU of a daemon
WORSE = 0.15  # by how much a ratio may get worse before it is told


def collected(lines):
    """samples, of the lines of a results file."""
    samples = {}
    for line in lines:
        for key, value in line.get("figures", {}).items():
            samples.setdefault(key, {}).setdefault(line["subject"], []).append(value)
    return samples


def base_of(of_subject, bases=(BASE,)):
    """(name, median) of the first of the bases that has more than 0; (None, 0) where none has."""
    for name in bases:
        middle = statistics.median(of_subject.get(name) or [0])
        if middle > 0:
            return name, middle
    return None, 0


def ratios(samples, bases=(BASE,)):
    """{key: {subject: its median to that of the first of the bases which has one}}"""
    found = {}
    for key, of_subject in samples.items():
        name, base = base_of(of_subject, bases)
        if base:
            found[key] = {subject: statistics.median(values) / base for subject, values in of_subject.items() if subject != name}
    return found


def best(samples, figures):
    """samples with one round each: the best of each figure."""
    found = {}
    for figure in figures:
        choose = max if figure.is_higher_better else min
        found[figure.key] = {subject: [choose(values)] for subject, values in samples.get(figure.key, {}).items()}
    return found


def number(value):
    """Three digits, and no more than are known."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def cell(values, base):
    """median [smallest - largest] ratio"""
    if not values:
        return ""
    middle = statistics.median(values)
    text = f"**{number(middle)}**"
    if len(values) > 1:
        text += f" [{number(min(values))} - {number(max(values))}]"
    if base:
        text += f" {middle / base:.2f}x"
    return text


def table(samples, figures, subjects):
    """Markdown; subjects: {name: title}. What nobody has a value for is left out."""
    lines = ["| | " + " | ".join(subjects.values()) + " |", "|---" * (len(subjects) + 1) + "|"]
    for figure in figures:
        of_subject = samples.get(figure.key, {})
        if not of_subject:
            continue
        _, base = base_of(of_subject)
        cells = [cell(of_subject.get(name, []), 0 if name == BASE else base) for name in subjects]
        lines.append(f"| {figure.title}, {figure.unit} {'↑' if figure.is_higher_better else '↓'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def worse(now, kept, figures):
    """Ratios that are worse than the kept ones by more than WORSE: (figure, subject, kept, now), the worst first."""
    found = []
    for figure in figures:
        for subject, before in kept.get(figure.key, {}).items():
            after = now.get(figure.key, {}).get(subject)
            if after is None:
                continue
            loss = before / after - 1 if figure.is_higher_better else after / before - 1
            if loss > WORSE:
                found.append((loss, figure, subject, before, after))
    return [entry[1:] for entry in sorted(found, key=lambda entry: -entry[0])]
