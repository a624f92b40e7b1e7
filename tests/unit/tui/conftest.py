"""Recorded runs as the renderers see them."""

from __future__ import annotations

import time

import pytest
from support.fake_runs import make_run

from tuitrain.runs.flight import read_findings
from tuitrain.runs.status import liveness
from tuitrain.tui.render.glyphs import UNICODE
from tuitrain.tui.render.view import RunView


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    """Times of day are told in local time: make that UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def view_of(tmp_path):
    """view_of(story) -> the run's view two seconds after its last event."""

    def make(story, *, glyphs=UNICODE, total=1200, trust_log=False):
        run, now_s = make_run(tmp_path / "runs", story, total=total)
        config = run.resolved()["config"]
        alive = None if trust_log else liveness(run.status(), now_s)
        return RunView(
            run_id=run.run_id, state=run.fold(), now_s=now_s, glyphs=glyphs, liveness=alive, plan=run.plan(), config=config,
            findings=read_findings(run.path),
        )  # fmt: skip

    return make
