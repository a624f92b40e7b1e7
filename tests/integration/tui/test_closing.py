"""Words of threads that come while the interface closes."""

from __future__ import annotations

import pytest

from tuitrain.tui.messages import JobDone, JobFailed, JobSaid, MachineSeen, RunGrew, RunsListed


@pytest.fixture
def late(tmp_path):
    """Every message a thread may have posted just before it was stopped."""
    run = tmp_path / "runs" / "r"
    return [
        RunsListed((), complete=True), MachineSeen("CPU"), RunGrew(run), JobSaid("saving"),
        JobDone("made", open_run=run), JobFailed("no", "x"),
    ]  # fmt: skip


async def test_a_word_that_comes_after_the_screens_is_dropped(opened, late):
    """As it happens: the loop still serves the queue when the last screen is gone."""
    async with opened(["finished"]) as pilot:
        app = pilot.app
    assert not app.screen_stack
    for message in late:
        await app._dispatch_message(message)  # raises what the handler raises
    assert not app.screen_stack
