"""The running interface over recorded runs, on a clock that stands still."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from support.fake_runs import STAGES, give_examples, make_run

from tuitrain.data.inspect.languages import LanguageReport
from tuitrain.runs.store import RunStore
from tuitrain.tui.app import TuitrainApp
from tuitrain.tui.screens.tokens import TokensScreen

MACHINE = "CPU only · 2 cores · 23 GiB RAM · no NVIDIA driver found (nvidia-smi is not on PATH)"


@pytest.fixture(autouse=True)
def _still(monkeypatch, tmp_path):
    """One time zone, no animation, nothing of the developer's environment."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    for name in ("SSH_CONNECTION", "NO_COLOR", "TUITRAIN_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    time.tzset()
    # Telling languages takes a package that may be missing, and 0.7 s to load: here nobody tells them.
    untold = LanguageReport(texts=8, reason="languages were not told", install="pip install py3langid")
    monkeypatch.setattr("tuitrain.data.inspect.build.count_languages", lambda texts: untold)


def make_app(root, stories, *, ascii_only=False, run_id=None, total=240):
    """(app, now): an app over one run per story, the first of them the newest."""
    now_s = 0.0
    for order, story in enumerate(reversed(stories)):
        run, seen_s = make_run(root, story, created=order, total=total)
        now_s = max(now_s, seen_s)
        if story in STAGES:
            give_examples(run, Path(), stage=STAGES[story])  # relative: what is shown of it is the same everywhere
    root.mkdir(parents=True, exist_ok=True)
    app = TuitrainApp(
        ascii_only=ascii_only, run_id=run_id, store=RunStore(root), clock=lambda: now_s, describe_machine=lambda: MACHINE
    )
    return app, now_s


async def until(pilot, condition, timeout_s=10.0):
    """Wait for a condition, letting the app work."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the interface did not get there in time"
        await pilot.pause(0.01)


async def settled(pilot):
    """The list is read, the run on top is folded and painted."""
    app = pilot.app
    await until(pilot, lambda: app.home.runs is not None and app.home.machine)
    tail = getattr(app.screen, "tail", None)
    if tail is not None:
        await until(pilot, tail.caught_up.is_set)
    if isinstance(app.screen, TokensScreen):
        await until(pilot, lambda: app.screen.report is not None or app.screen.failed, timeout_s=60.0)
    for _ in range(3):
        await pilot.pause()
        paint = getattr(app.screen, "paint", None)
        if paint is not None:
            paint()
    await pilot.pause()


@pytest.fixture
def opened(tmp_path):
    """opened(stories, size=..., keys=[...]) -> an async context with the pilot of a settled app."""

    @contextlib.asynccontextmanager
    async def open_app(stories, *, size=(120, 40), keys=(), **options):
        app, _ = make_app(tmp_path / "runs", stories, **options)
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            for key in keys:
                await pilot.press(key)
                await settled(pilot)
            yield pilot

    return open_app


def shown(pilot):
    """The whole screen as text."""
    rows = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in row).rstrip() for row in rows)
