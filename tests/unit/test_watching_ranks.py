"""The plain watcher says which rank the others wait for: once, and again when it is another."""

from __future__ import annotations

import pytest

from tuitrain.cli.watching import NOBODY, _tell_slowest
from tuitrain.events import Event, RunState, fold

MS = 1_000_000


def look(number: int, late: int) -> list[Event]:
    """Three steps in which rank `late` comes 30 of 100 ms late."""
    begin_ns = 10**18 + number * 300 * MS
    steps = [[3 * number + index, 100 * index * MS, (100 * index + 99) * MS] for index in range(3)]
    return [
        Event(
            seq=number, t_ns=begin_ns + 300 * MS, rank=rank, step=3 * number + 2, kind="collectives",
            data={
                "begin_ns": begin_ns, "steps": steps, "groups": [{"name": "0", "ranks": [0, 1]}], "whole": True,
                "arrivals": [[0, 3 * number + index, (100 * index + 10 + 30 * (rank == late)) * MS] for index in range(3)],
            },
        )
        for rank in (0, 1)
    ]  # fmt: skip


def test_the_slowest_is_told_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    state, told = RunState(), NOBODY
    for number, late in enumerate((1, 1, 0, 0, 0)):
        fold(look(number, late), state)
        told = _tell_slowest(state, told)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1].split(" the others")[0] for line in lines] == [
        "rank 1 is slowest:", "no rank stands out:", "rank 0 is slowest:",
    ]  # fmt: skip
    assert told == 0
