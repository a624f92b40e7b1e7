"""How long the dashboard takes to paint, in milliseconds, as JSON: the render of every pane, and the whole frame in Textual.

    python benchmarks/dashboard_paint.py [--steps 100000] [--width 160] [--height 45] [--frames 60]

`render` is a full rebuild of all panes from the run's state with one new step per frame; `frame` is the same inside the running
application, from the timer's call until the compositor has produced the changed rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=45)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        fold_s = make_long_run(root, options.steps)
        render_ms = time_render(root, options)
        frame_ms = asyncio.run(time_frames(root, options))
    document = {
        "steps": options.steps, "width": options.width, "height": options.height, "frames": options.frames,
        "render_ms": percentiles(render_ms), "frame_ms": percentiles(frame_ms), "fold_all_s": round(fold_s, 3),
        "python": platform.python_version(), "machine": platform.processor() or platform.machine(),
    }  # fmt: skip
    print(json.dumps(document, indent=2))


def make_long_run(root: Path, steps: int) -> float:
    """A live run with that many steps; returns how long folding its log takes."""
    from support.fake_runs import make_run, write_long_log

    from tuitrain.tui.store import RunFeed

    run, _ = make_run(root, "live", name="long")
    for path in run.events_dir.iterdir():
        path.unlink()
    write_long_log(run.events_dir, steps=steps, total=steps * 5 // 4)
    started_s = time.perf_counter()
    RunFeed(run.events_dir).catch_up()
    return time.perf_counter() - started_s


def append_step(state, rng) -> None:
    """One more step, as the fold would add it."""
    from support.fake_runs import step_fields

    step, total = state.step + 1, state.total_steps
    state.steps.append(
        step_fields(step, total, 2.2 + rng.normal(0, 0.06), 0.66, 1.0) | {"step": step, "t_s": state.steps.last("t_s") + 0.66}
    )
    state.version += 1


def time_render(root: Path, options) -> list[float]:
    """All panes as lines, nothing kept but the smoothed curves."""
    from tuitrain.runs.store import Run
    from tuitrain.tui.render.plain import dashboard_lines
    from tuitrain.tui.render.view import RunView

    run, rng = Run(root / "long"), np.random.default_rng(0)
    state, smoothers, taken = run.fold(), {}, []
    for _ in range(options.frames):
        append_step(state, rng)
        started_s = time.perf_counter()
        view = RunView(run_id="long", state=state, now_s=state.last_t_ns / 1e9, smoothers=smoothers)
        dashboard_lines(view, width=options.width, height=options.height, log=("a line",) * 20)
        taken.append(1000 * (time.perf_counter() - started_s))
    return taken


async def time_frames(root: Path, options) -> list[float]:
    """The dashboard in the running application."""
    from tuitrain.runs.store import RunStore
    from tuitrain.tui.app import TuitrainApp

    rng, taken = np.random.default_rng(0), []
    app = TuitrainApp(store=RunStore(root), run_id="long", describe_machine=lambda: "benchmark")
    async with app.run_test(size=(options.width, options.height)) as pilot:
        screen = app.screen
        while not screen.tail.caught_up.is_set():
            await pilot.pause(0.05)
        for _ in range(options.frames):
            with screen.tail.feed.lock:
                append_step(screen.tail.feed.state, rng)
            started_s = time.perf_counter()
            screen.paint()
            screen._on_timer_update()  # Textual's own timer: composite, and write the changed rows
            taken.append(1000 * (time.perf_counter() - started_s))
            await pilot.pause(0.01)
    return taken


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and the largest."""
    return {
        "p50": round(float(np.percentile(values, 50)), 2),
        "p95": round(float(np.percentile(values, 95)), 2),
        "max": round(max(values), 2),
    }


if __name__ == "__main__":
    main()
