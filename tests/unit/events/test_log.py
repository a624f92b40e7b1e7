"""The event log: what is written is what is read, whatever happens in between."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain.events import EventReader, EventWriter, RunReader, decode_line, read_events


def write_steps(path: Path, count: int, *, first: int = 1) -> None:
    with EventWriter(path, rank=0) as writer:
        for step in range(first, first + count):
            writer.emit("step", step=step, loss=1.0 / step)


def test_non_finite_numbers_survive(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "rank00000.jsonl", rank=0) as writer:
        writer.emit("step", step=1, loss=math.nan, grad_norm=math.inf, lr=-math.inf)
    (event,) = read_events(tmp_path)
    assert math.isnan(event.number("loss"))
    assert event.number("grad_norm") == math.inf
    assert event.number("lr") == -math.inf
    assert math.isnan(event.number("absent"))


def test_numbers_are_not_rounded(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    with EventWriter(tmp_path / "rank00000.jsonl", rank=0) as writer:
        writer.emit("step", step=1, loss=value)
    assert next(read_events(tmp_path)).number("loss") == value


@pytest.mark.parametrize("torn", [b'{"v":1,"seq":9', b"x" * 5000, b"\x00" * 100])
def test_a_torn_tail_is_repaired_and_the_sequence_goes_on(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "rank00000.jsonl"
    write_steps(path, 3)
    with path.open("ab") as file:
        file.write(torn)
    write_steps(path, 2, first=4)
    events = list(read_events(tmp_path))
    assert [event.step for event in events] == [1, 2, 3, 4, 5]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_a_reader_never_sees_half_a_line(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("events")
    write_steps(folder / "source.jsonl", 20)
    data = (folder / "source.jsonl").read_bytes()
    growing = folder / "growing.jsonl"
    reader, seen, position = EventReader(growing), [], 0
    for cut in [*cuts, len(data)]:
        piece = data[position : position + cut]
        position += len(piece)
        with growing.open("ab") as file:
            file.write(piece)
        seen += [event.step for event in reader.read()]
    assert seen == list(range(1, 21))
    assert reader.skipped_lines == 0


def test_reading_in_slices_gives_the_same_events(tmp_path: Path) -> None:
    write_steps(tmp_path / "rank00000.jsonl", 500)
    reader, seen = EventReader(tmp_path / "rank00000.jsonl"), []
    while batch := reader.read(max_bytes=777):
        seen += batch
    assert seen == list(read_events(tmp_path))


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_a_replaced_file_is_read_anew(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "rank00000.jsonl"
    write_steps(path, 5)
    reader = RunReader(tmp_path)
    assert len(reader.read()) == 5
    write_steps(tmp_path / "new", steps)
    (tmp_path / "new").rename(path)
    assert [event.step for event in reader.read()] == list(range(1, steps + 1))
    assert reader.generation == 1


def test_a_full_disk_delays_events_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(tmp_path / "rank00000.jsonl", rank=0)
    real_write, full = os.write, True

    def write(fd: int, data: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, data)

    monkeypatch.setattr(os, "write", write)
    writer.emit("step", step=1, loss=1.0)
    writer.emit("step", step=2, loss=1.0)
    assert list(read_events(tmp_path)) == []
    full = False
    writer.emit("step", step=3, loss=1.0)
    assert [event.step for event in read_events(tmp_path)] == [1, 2, 3]


def test_a_write_cut_short_by_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(tmp_path / "rank00000.jsonl", rank=0)
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:10]))
    writer.emit("step", step=1, loss=1.0)
    monkeypatch.setattr(os, "write", real_write)
    writer.emit("step", step=2, loss=1.0)
    assert [event.step for event in read_events(tmp_path)] == [1, 2]


def test_an_undeclared_field_is_refused(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "rank00000.jsonl", rank=0)
    with pytest.raises(AssertionError, match="does not declare"):
        writer.emit("step", step=1, losss=1.0)


def test_unknown_kinds_and_fields_of_a_newer_version_are_read() -> None:
    event = decode_line(b'{"v":7,"seq":1,"t_ns":2,"rank":0,"step":3,"kind":"telepathy","thought":"x"}')
    assert event is not None
    assert event.kind == "telepathy"


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"null", b'{"kind":"step"}', b"\xff\xfe", b'{"v":1,"seq":"a","t_ns":0,"rank":0,"step":0,"kind":"x"}']
)
def test_lines_that_are_no_events_are_none(line: bytes) -> None:
    assert decode_line(line) is None
