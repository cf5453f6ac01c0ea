# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the benchmark's report: what it says of measurements is what they come to. Nothing is measured here."""

import json
import pathlib
import sys
import xml.etree.ElementTree as xml

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
from compare import __main__ as program, chart, report, workloads  # noqa: E402
from compare.crowd import HEAD, hello, varint  # noqa: E402
from compare.workloads import Figure  # noqa: E402

RATE = Figure("bulk.rate", "bulk: rate", "Gbit/s", True)
TIME = Figure("pingpong.p50", "ping-pong: p50", "us")
FIGURES = [RATE, TIME]
SUBJECTS = {"plain": "plain", "culvert": "Culvert", "haproxy": "haproxy"}


def line(subject, **figures):
    return {"subject": subject, "figures": {key.replace("_", "."): value for key, value in figures.items()}}


LINES = [{"head": {"cpu": "some"}},
         line("plain", bulk_rate=40.0, pingpong_p50=50.0), line("culvert", bulk_rate=10.0, pingpong_p50=60.0), line("haproxy", bulk_rate=8.0),
         line("plain", bulk_rate=10.0, pingpong_p50=70.0), line("culvert", bulk_rate=30.0, pingpong_p50=90.0),
         line("plain", bulk_rate=20.0, pingpong_p50=60.0), line("culvert", bulk_rate=11.0, pingpong_p50=66.0)]


def test_samples_are_collected_by_figure_and_subject():
    assert report.collected(LINES) == {
        "bulk.rate": {"plain": [40.0, 10.0, 20.0], "culvert": [10.0, 30.0, 11.0], "haproxy": [8.0]},
        "pingpong.p50": {"plain": [50.0, 70.0, 60.0], "culvert": [60.0, 90.0, 66.0]}}


def test_ratios_are_of_medians():
    found = report.ratios(report.collected(LINES))
    assert found == {"bulk.rate": {"culvert": pytest.approx(11 / 20), "haproxy": pytest.approx(8 / 20)}, "pingpong.p50": {"culvert": pytest.approx(66 / 60)}}


def test_a_ratio_needs_a_plain_that_is_not_zero():
    assert report.ratios({"cpu": {"plain": [0, 0], "culvert": [3]}, "pss": {"culvert": [4]}}) == {}


def test_where_plain_has_none_another_base_serves():
    cpu = {"cpu": {"plain": [0.0], "haproxy": [4.0, 2.0], "culvert": [1.5]}, "rate": {"plain": [10.0], "haproxy": [5.0], "culvert": [4.0]}}
    assert report.ratios(cpu) == {"rate": {"haproxy": pytest.approx(0.5), "culvert": pytest.approx(0.4)}}
    assert report.ratios(cpu, ("plain", "haproxy")) == {"cpu": {"plain": 0.0, "culvert": pytest.approx(0.5)},
                                                        "rate": {"haproxy": pytest.approx(0.5), "culvert": pytest.approx(0.4)}}
    assert [report.base_of(of, ("plain", "haproxy")) for of in cpu.values()] == [("haproxy", 3.0), ("plain", 10.0)]
    assert report.base_of({"culvert": [1.0]}, ("plain", "haproxy")) == (None, 0)


def test_even_rounds_take_the_middle_of_the_two():
    assert report.ratios({"x": {"plain": [10.0, 20.0], "culvert": [30.0, 60.0]}}) == {"x": {"culvert": pytest.approx(3.0)}}


@pytest.mark.parametrize("value,text", [(0, "0"), (0.00412, "0.00412"), (1.239, "1.24"), (12.39, "12.4"), (123.9, "124"), (999.6, "1000"), (21543.2, "21,543"),
                                        (-2.853, "-2.85")])
def test_a_number_has_three_digits(value, text):
    assert report.number(value) == text


def test_the_table_has_median_spread_and_ratio():
    lines = report.table(report.collected(LINES), FIGURES, SUBJECTS).splitlines()
    assert lines == ["| | plain | Culvert | haproxy |", "|---|---|---|---|",
                     "| bulk: rate, Gbit/s ↑ | **20** [10 - 40] | **11** [10 - 30] 0.55x | **8** 0.40x |",
                     "| ping-pong: p50, us ↓ | **60** [50 - 70] | **66** [60 - 90] 1.10x |  |"]


def test_the_best_round_is_the_highest_or_the_lowest():
    found = report.best(report.collected(LINES), FIGURES)
    assert found == {"bulk.rate": {"plain": [40.0], "culvert": [30.0], "haproxy": [8.0]}, "pingpong.p50": {"plain": [50.0], "culvert": [60.0]}}
    assert report.table(found, [RATE], SUBJECTS).splitlines()[2] == "| bulk: rate, Gbit/s ↑ | **40** | **30** 0.75x | **8** 0.20x |"


def test_the_table_leaves_out_what_nobody_has():
    assert len(report.table({"bulk.rate": {"plain": [1.0]}}, FIGURES, SUBJECTS).splitlines()) == 3


@pytest.mark.parametrize("rate,time,expected", [
    (0.50, 1.10, []),
    (0.44, 1.26, []),  # 14 and 14.5 % worse
    (0.43, 1.10, ["bulk.rate"]),
    (0.50, 1.27, ["pingpong.p50"]),
    (0.25, 1.30, ["bulk.rate", "pingpong.p50"]),  # the worst first
    (0.40, 3.30, ["pingpong.p50", "bulk.rate"]),
    (0.90, 0.50, []),  # better
])
def test_what_became_worse_is_told_either_way_round(rate, time, expected):
    kept = {"bulk.rate": {"culvert": 0.50}, "pingpong.p50": {"culvert": 1.10}}
    found = report.worse({"bulk.rate": {"culvert": rate}, "pingpong.p50": {"culvert": time}}, kept, FIGURES)
    assert [figure.key for figure, *_ in found] == expected
    assert all(subject == "culvert" and before == kept[figure.key]["culvert"] for figure, subject, before, _ in found)


def test_what_was_not_measured_did_not_become_worse():
    assert report.worse({}, {"bulk.rate": {"culvert": 0.5}}, FIGURES) == []
    assert report.worse({"bulk.rate": {"culvert": 0.1}}, {}, FIGURES) == []


def test_bars_are_to_scale_and_none_is_longer_than_the_room():
    drawn, plain = chart.bars({"culvert": 0.5, "haproxy": 0.25}, SUBJECTS, True)
    assert (drawn, plain) == ([("culvert", 0.5, 0.5), ("haproxy", 0.25, 0.25)], 1.0)
    drawn, plain = chart.bars({"culvert": 2.0, "haproxy": 50.0}, SUBJECTS, False)
    assert (drawn, plain) == ([("culvert", 2.0, 0.25), ("haproxy", 50.0, 1.0)], 0.125)


def test_the_chart_is_well_formed_and_says_each_ratio():
    figures = [RATE, Figure("none", "never <measured>", "us"), TIME]
    drawn = xml.fromstring(chart.chart(report.ratios(report.collected(LINES)), figures, SUBJECTS))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text.endswith("x")] == ["0.55x", "0.40x", "1.10x"]
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}line"))) == 2  # plain's, in each panel


def test_workloads_have_names_of_their_own():
    for chosen in (workloads.QUICK, workloads.FULL):
        keys = [figure.key for workload in chosen for figure in workload.figures()]
        assert len(keys) == len(set(keys))
    assert {workload.name for workload in workloads.QUICK} <= {workload.name for workload in workloads.FULL}


@pytest.mark.parametrize("words,subjects,names", [
    ("culvert,http-128-64", ["plain", "culvert"], ["http-128-64"]),
    ("pingpong", None, ["pingpong-64", "pingpong-1024", "pingpong-64-1000us"]),
    ("haproxy", ["plain", "haproxy"], None),
])
def test_only_chooses_subjects_and_workloads(words, subjects, names):
    options = program.options_of(["--only", words])
    if subjects:
        assert [kind.name for kind in options.subjects] == subjects
    if names:
        assert [workload.name for workload in options.workloads] == names


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "KEPT", tmp_path / "ratios.json")
    return program.KEPT


def test_ratios_are_kept_and_compared_by_the_best_round(kept, capsys):
    samples = report.collected(LINES)
    program.compare_with_kept(program.options_of(["--keep"]), "some", samples, FIGURES)
    assert json.loads(kept.read_text()) == {"some": {"bulk.rate": {"culvert": 0.75}, "pingpong.p50": {"culvert": 1.2}}}
    samples["bulk.rate"]["culvert"] = [10.0, 20.0]
    program.compare_with_kept(program.options_of([]), "some", samples, FIGURES)
    assert capsys.readouterr().out.splitlines() == ["worse: culvert: bulk: rate: 0.50x of plain, kept 0.75x",
                                                    "1 of the kept ratios became worse by more than 15%."]


def test_to_keep_some_ratios_leaves_the_others(kept):
    kept.write_text('{"some": {"bulk.rate": {"culvert": 0.3}, "other.rate": {"culvert": 0.7}}, "another": {"bulk.rate": {"culvert": 0.1}}}')
    program.compare_with_kept(program.options_of(["--keep"]), "some", report.collected(LINES[1:3]), [RATE])
    assert json.loads(kept.read_text()) == {"some": {"bulk.rate": {"culvert": 0.25}, "other.rate": {"culvert": 0.7}}, "another": {"bulk.rate": {"culvert": 0.1}}}


class Ended:
    """An iperf3 that printed this."""

    returncode = 1

    def __init__(self, printed):
        self.printed = printed

    def communicate(self, timeout):
        return self.printed, None


def test_a_server_with_another_client_is_no_other_failure():
    told = {"start": {"connected": []}, "intervals": [], "end": {}, "error": "the server is busy running a test. try again later"}
    with pytest.raises(workloads.Busy, match="busy running a test"):
        workloads.bulk_ended(Ended(json.dumps(told)))
    with pytest.raises(workloads.Failure) as raised:
        workloads.bulk_ended(Ended("iperf3: segmentation fault"))
    assert raised.type is workloads.Failure


def test_a_bulk_stream_is_what_arrived_in_its_time():
    interval = [{"sum": {"bytes": 1000, "omitted": True}}, {"sum": {"bytes": 5000, "omitted": False}}]
    told = {"start": {"connected": [{}]}, "intervals": interval, "end": {"sum_received": {"bits_per_second": 3e9}, "sum_sent": {"bytes": 5000}}}
    assert workloads.bulk_ended(Ended(json.dumps(told))) == (3.0, 6000)


def test_another_processors_ratios_say_nothing(kept, capsys):
    kept.write_text('{"another": {"bulk.rate": {"culvert": 0.9}}}')
    program.compare_with_kept(program.options_of([]), "some", report.collected(LINES), FIGURES)
    assert capsys.readouterr().out == "no ratios are kept of a machine like this one (some); --keep would.\n"


def test_a_finished_run_is_told_whole(kept, tmp_path, capsys):
    lines = [{"head": {"cpu": "some", "rounds": 3, "subjects": {"plain": "Linux 6", "culvert": "culvertd 1"}, "skipped": {"wireguard-go": "no TUN"}}}]
    lines += [{"subject": subject, "others_percent": others, "figures": {"bulk-1-up.rate": rate}}
              for subject, others, rate in (("plain", 4, 40.0), ("culvert", 90, 10.0), ("plain", 8, 20.0), ("culvert", 6, 15.0))]
    lines.append({"subject": "culvert", "workload": "rest", "failed": "it ended"})
    assert program.finish(program.options_of(["--out", str(tmp_path)]), lines) == 1
    text = capsys.readouterr().out
    assert "- cpu: some\n" in text and "- culvert: culvertd 1\n" in text and "7 % (median), 90 % (most)" in text
    assert "| 1 stream up: rate, Gbit/s ↑ | **30** [20 - 40] | **12.5** [10 - 15] 0.42x |" in text
    assert "| 1 stream up: rate, Gbit/s ↑ | **40** | **15** 0.38x |" in text
    assert "- skipped: wireguard-go: no TUN\n" in text
    assert "failed: culvert: rest: it ended" in text
    assert (tmp_path / "table.md").read_text() in text and "0.42x" in (tmp_path / "chart.svg").read_text()
    assert program.finish(program.options_of(["--out", str(tmp_path)]), lines[:-1]) == 0


def test_tails_are_not_compared():
    figures = workloads.PingPong(64).figures()
    assert [(figure.key, figure.is_kept) for figure in figures] == [("pingpong-64.p50", True), ("pingpong-64.p99", False), ("pingpong-64.p99.9", False)]


def test_only_refuses_what_is_not_there(capsys):
    with pytest.raises(SystemExit):
        program.options_of(["--only", "culvert,htpp"])
    assert "htpp" in capsys.readouterr().err


def test_a_played_node_says_hello_as_the_protocol_has_it():
    frame = hello("stranger7")
    kind, flags, length, stream = HEAD.unpack_from(frame)
    assert (kind, flags, stream) == (1, 0, 0) and length == len(frame) - HEAD.size
    assert frame[HEAD.size:].startswith(b"\x0a\x09stranger7\x11")
    assert [varint(value) for value in (1, 127, 128, 32768)] == [b"\x01", b"\x7f", b"\x80\x01", b"\x80\x80\x02"]
