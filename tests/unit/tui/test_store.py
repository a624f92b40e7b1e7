"""Following logs that are being written, cut, replaced and resumed; skimming long ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_runs import make_run, write_long_log

from tuitrain.events import fold, read_events
from tuitrain.tui.logtail import LogTail
from tuitrain.tui.store import RunFeed, skim


def same(one, other):
    """Whether two states tell the same story."""
    assert one.state == other.state
    assert one.step == other.step
    assert one.total_steps == other.total_steps
    assert len(one.abandoned) == len(other.abandoned)
    assert len(one.notes) == len(other.notes)
    np.testing.assert_array_equal(one.steps.column("loss"), other.steps.column("loss"))
    np.testing.assert_array_equal(one.evals.column("step"), other.evals.column("step"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), story=st.sampled_from(["resumed", "failed", "finished"]))
def test_any_cut_of_the_file_gives_the_same_state(tmp_path, seed, story):
    run, _ = make_run(tmp_path / "whole", story, total=120)
    random = np.random.default_rng(seed)
    part = tmp_path / f"part-{seed}-{story}"
    part.mkdir(exist_ok=True)
    feed = RunFeed(part)
    logs = {path.name: path.read_bytes() for path in run.events_dir.iterdir()}
    written = dict.fromkeys(logs, 0)
    for name in logs:
        (part / name).write_bytes(b"")
    while any(written[name] < len(logs[name]) for name in logs):
        for name, data in logs.items():
            upto = min(len(data), written[name] + int(random.integers(1, 20_000)))
            with (part / name).open("ab") as file:
                file.write(data[written[name] : upto])
            written[name] = upto
        feed.catch_up()
    same(feed.state, fold(read_events(run.events_dir)))


def test_a_replaced_log_is_folded_anew(tmp_path):
    run, _ = make_run(tmp_path, "finished", total=120)
    feed = RunFeed(run.events_dir)
    feed.catch_up()
    before = feed.version
    short, _ = make_run(tmp_path / "other", "live", total=60)
    (run.events_dir / "rank00000.jsonl").write_bytes((short.events_dir / "rank00000.jsonl").read_bytes())
    feed.catch_up()
    assert feed.version != before
    assert feed.generation == 1
    same(feed.state, fold(read_events(short.events_dir)))


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    run, _ = make_run(tmp_path, "live", total=120)
    log = run.events_dir / "rank00000.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-7])
    feed = RunFeed(run.events_dir)
    seen = feed.catch_up().version
    log.write_bytes(whole)
    assert feed.catch_up().version == seen + 1


def test_a_folder_without_events_is_a_run_that_waits(tmp_path):
    feed = RunFeed(tmp_path / "nowhere")
    assert not feed.poll()
    assert feed.state.state == "waiting"


def test_skimming_a_long_log_reads_its_ends_and_the_shape_between(tmp_path):
    write_long_log(tmp_path, steps=20_000, total=25_000)
    whole, seen = fold(read_events(tmp_path)), skim(tmp_path)
    assert seen.step == whole.step == 20_000
    assert seen.total_steps == 25_000
    assert seen.state == "train"
    assert seen.plan == whole.plan
    assert len(seen.steps) < 4000
    steps, loss = seen.steps.column("step"), seen.steps.column("loss")
    assert (np.diff(steps) > 0).all()
    assert np.diff(steps).max() < 2000, "a stretch of the curve is missing"
    np.testing.assert_allclose(loss, np.interp(steps, whole.steps.column("step"), whole.steps.column("loss")))


@pytest.mark.parametrize("story", ["finished", "failed", "resumed"])
def test_skimming_a_short_log_reads_all_of_it(tmp_path, story):
    run, _ = make_run(tmp_path, story, total=240)
    same(skim(run.events_dir), fold(read_events(run.events_dir)))


def test_log_carriage_returns_rewrite_their_line(tmp_path):
    log = tmp_path / "train.log"
    log.write_bytes(b"loading\r 10%\r 50%")
    tail = LogTail(log)
    assert tail.poll()
    assert tail.lines == (" 50%",)
    with log.open("ab") as file:
        file.write(b"\r100%\nnext [line]\n")
    assert tail.poll()
    assert tail.lines == ("100%", "next [line]")
    assert not tail.poll()


def test_log_reads_only_its_end_and_says_how_much_it_left_out(tmp_path):
    log = tmp_path / "train.log"
    log.write_bytes(b"".join(b"line %06d\n" % index for index in range(10_000)))
    tail = LogTail(log, tail_bytes=1200)
    tail.poll()
    assert tail.lines[-1] == "line 009999"
    assert len(tail.lines) <= 101
    assert tail.skipped_bytes == 12 * 10_000 - 1200


def test_log_truncated_or_replaced_is_read_again(tmp_path):
    log = tmp_path / "train.log"
    log.write_bytes(b"one\ntwo\n")
    tail = LogTail(log)
    tail.poll()
    log.write_bytes(b"new\n")
    assert tail.poll()
    assert tail.lines == ("new",)


def test_log_keeps_control_sequences_out(tmp_path):
    log = tmp_path / "train.log"
    log.write_bytes(b"\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x00\xff\n")
    tail = LogTail(log)
    tail.poll()
    assert tail.lines == ("red ok\ufffd",)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.text("ab\r\n漢é[", max_size=12), max_size=8))
def test_log_in_any_pieces_gives_the_same_lines(tmp_path, chunks):
    log = tmp_path / "train.log"
    log.write_text("", newline="")
    tail = LogTail(log)
    for chunk in chunks:
        with log.open("a", encoding="utf-8", newline="") as file:
            file.write(chunk)
        tail.poll()
    whole = LogTail(log)
    whole.poll()
    assert tail.lines == whole.lines
