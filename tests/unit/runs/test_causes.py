"""Which process died of what, from every mixture of exit codes and last words that was seen or can be thought of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuitrain.config.resolved import load_resolved
from tuitrain.runs.causes import Cause, Exit, exits_in, find_cause
from tuitrain.runs.heartbeats import RankBeat
from tuitrain.runs.shrink import shrink_micro_batch
from tuitrain.runs.watchdog import Hang

SUMMARY = """
tuitrain.trainer FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-12-01_00:30:21
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 6124)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 6124
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-12-01_00:30:21
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 6123)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""
"""As torch 2.13 printed it when rank 1 was killed: its "root cause" is the victim."""


def beat(rank: int, state: str = "running", message: str = "", *, at_s: float = 0.0, exit_code: int = 1) -> RankBeat:
    return RankBeat(
        rank=rank, attempt=1, pid=100 + rank, start_time_s=0.0, host="here", heartbeat_s=at_s, progress_s=at_s, step=7,
        phase="train", state=state, message=message, exit_code=exit_code,
    )  # fmt: skip


def cause(*beats: RankBeat, exits: list[Exit] | None = None, **facts: Any) -> Cause:
    known: dict[str, Any] = {"code": 1, "hang": None, "kernel_kills": False, "nproc": 2} | facts
    return find_cause(exits=exits or [], beats={each.rank: each for each in beats}, **known)


def gone(rank: int, code: int) -> Exit:
    return Exit(rank=rank, code=code, pid=100 + rank)


def test_the_summary_of_torchrun_is_read() -> None:
    assert exits_in("noise\n" + SUMMARY) == [Exit(rank=0, code=1, pid=6123), Exit(rank=1, code=-9, pid=6124)]
    assert exits_in("nothing of the kind") == []


def test_the_killed_is_named_and_not_the_victim_torchrun_names() -> None:
    lost = beat(0, "lost_peer", "Connection closed by peer")
    found = cause(lost, beat(1), exits=exits_in(SUMMARY))
    assert (found.kind, found.rank, found.pid, found.exit_code) == ("killed", 1, 6124, -9)
    assert found.reason == "rank 1 (pid 6124) was killed (SIGKILL): by somebody, or by the kernel for want of memory"


def test_a_kill_by_the_kernel_is_want_of_memory() -> None:
    found = cause(beat(0, "lost_peer"), beat(1), exits=exits_in(SUMMARY), kernel_kills=True)
    assert (found.kind, found.rank) == ("out_of_memory", 1)


def test_want_of_memory_comes_before_what_it_broke() -> None:
    found = cause(beat(0, "lost_peer", "reset", at_s=1), beat(1, "out_of_memory", "no room", at_s=2), exits=[gone(0, -6)])
    assert (found.kind, found.rank) == ("out_of_memory", 1)
    assert found.reason == "rank 1 (pid 101) ran out of memory in train, step 7: no room"


def test_of_two_errors_the_first_counts() -> None:
    found = cause(beat(0, "error", "second", at_s=2.0), beat(1, "error", "first", at_s=1.0), exits=[gone(0, 1), gone(1, 1)])
    assert (found.kind, found.rank) == ("error", 1)
    assert found.reason == "rank 1 (pid 101) failed: first"


def test_an_error_comes_before_the_abort_it_causes() -> None:
    found = cause(beat(0), beat(1, "error", "ValueError: x"), exits=[gone(0, -6), gone(1, 1)])
    assert (found.kind, found.rank) == ("error", 1)


def test_one_that_torchrun_killed_for_not_leaving_is_not_the_cause() -> None:
    found = cause(beat(0, "error", "ValueError: x"), beat(1, "lost_peer"), exits=[gone(0, 1), gone(1, -9)])
    assert (found.kind, found.rank) == ("error", 0)


@pytest.mark.parametrize(("code", "word"), [(-11, "SIGSEGV"), (-6, "SIGABRT"), (-7, "SIGBUS"), (-4, "SIGILL"), (-31, "SIGSYS")])
def test_crashes_bear_their_names(code: int, word: str) -> None:
    found = cause(beat(0, "lost_peer"), beat(1), exits=[gone(0, 1), gone(1, code)])
    assert (found.kind, found.rank, found.exit_code) == ("crashed", 1, code)
    assert word in found.reason


def test_an_exit_without_a_word_is_told_from_one_that_lost_its_partner() -> None:
    found = cause(beat(0, "lost_peer"), beat(1), exits=[gone(0, 1), gone(1, 5)])
    assert (found.kind, found.rank, found.exit_code) == ("exit", 1, 5)


def test_a_broken_connection_is_told_when_nothing_else_is_known() -> None:
    found = cause(beat(0, "lost_peer", "reset"), beat(1, "lost_peer", "reset", at_s=1), exits=[gone(0, 1), gone(1, 1)])
    assert (found.kind, found.rank) == ("lost_peer", 0)


def test_a_collective_that_timed_out_names_who_did_not_come() -> None:
    waited = replace(beat(0, "lost_peer", "Timed out waiting"), reached={"0": 8}, waiting_in="gloo:all_reduce")
    late = replace(beat(1, "lost_peer", "rank 0 is gone", at_s=1), reached={"0": 7})
    found = cause(waited, late, exits=[gone(0, 1), gone(1, 1)])
    assert (found.kind, found.rank) == ("hung", 1)
    assert found.reason == "rank 1 (pid 101) did not come to gloo:all_reduce, where rank 0 waited: Timed out waiting"


def test_the_abort_of_a_library_is_not_the_crash_it_answers() -> None:
    assert cause(beat(0), beat(1), exits=[gone(0, -6), gone(1, -11)]).rank == 1


def test_the_end_of_torchrun_itself() -> None:
    found = cause(beat(0, "left"), beat(1, "left"), code=-9)
    assert (found.kind, found.rank) == ("killed", None)
    assert found.reason == "torchrun was ended by SIGKILL"


def test_a_lone_trainer_has_no_rank() -> None:
    found = cause(beat(0), exits=[gone(0, -9)], nproc=1)
    assert found.reason.startswith("the trainer (pid 100) was killed (SIGKILL)")
    assert cause(beat(0, "error", "no data"), nproc=1).reason == "no data"


def test_a_hang_is_what_the_watchdog_saw() -> None:
    found = cause(beat(0), beat(1), code=-9, hang=Hang(ranks=(1,), reason="rank 1 stood still"))
    assert (found.kind, found.reason, found.rank, found.pid) == ("hung", "rank 1 stood still", 1, 101)
    several = cause(beat(0), beat(1), code=-9, hang=Hang(ranks=(0, 1), reason="both")).facts()
    assert (several["ended_rank"], several["ended_ranks"]) == (None, [0, 1])


@pytest.mark.parametrize(("before", "after"), [(8, 4), (6, 4), (2, 1), (1, None)])
def test_the_next_smaller_micro_batch_divides_the_share(tmp_path: Path, before: int, after: int | None) -> None:
    from support.runs import tiny_run

    run = tiny_run(tmp_path, "run.nproc=2", "train.batch_tokens=512")  # 16 sequences of 32 tokens, 8 for each
    load_resolved(run.path).with_value("train.micro_batch", before, "").save(run.path)
    shrunk = shrink_micro_batch(run.path, Cause(kind="out_of_memory", reason="", ranks=(1,)))
    assert (shrunk.after if shrunk else None) == after
    resolved = load_resolved(run.path)
    assert resolved.config.train.micro_batch == (after or before)
    if after:
        assert resolved.reason("train.micro_batch") == (
            f"rank 1 ran out of memory at {before} sequences; the global batch stays 512 tokens"
        )


def test_nothing_is_smaller_than_what_was_not_settled(tmp_path: Path) -> None:
    from support.runs import tiny_run

    assert shrink_micro_batch(tiny_run(tmp_path).path, Cause(kind="out_of_memory", reason="")) is None
