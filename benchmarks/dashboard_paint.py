"""How long the dashboard of a 100 000-step run takes to paint: the render of every pane, and the whole frame in Textual. The
limit is ours: 50 ms.

`render` is a full rebuild of all panes from the run's state with one new step per frame; `frame` is the same inside the running
application, from the timer's call until the compositor has produced the changed rows.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import save, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


STEPS, WIDTH, HEIGHT, FRAMES = 100_000, 160, 45, 60


def main() -> None:
    """Measure both and save."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        fold_s = make_long_run(root, STEPS)
        render_ms = time_render(root)
        frame_ms = asyncio.run(time_frames(root))
    rows = [["what", "p50 ms", "p95 ms", "max ms"]]
    times = {"all panes": percentiles(render_ms), "whole frame": percentiles(frame_ms)}
    rows += [[name, *(f"{each:.1f}" for each in found.values())] for name, found in times.items()]
    table(rows)
    sizes = {"steps": STEPS, "columns": WIDTH, "lines": HEIGHT, "frames": FRAMES}
    save("dashboard_paint", {**sizes, "render_ms": times["all panes"], "frame_ms": times["whole frame"],
                             "fold_all_s": round(fold_s, 3)})  # fmt: skip


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


def time_render(root: Path) -> list[float]:
    """All panes as lines, nothing kept but the smoothed curves."""
    from tuitrain.runs.store import Run
    from tuitrain.tui.render.plain import dashboard_lines
    from tuitrain.tui.render.view import RunView

    run, rng = Run(root / "long"), np.random.default_rng(0)
    state, smoothers, taken = run.fold(), {}, []
    for _ in range(FRAMES):
        append_step(state, rng)
        started_s = time.perf_counter()
        view = RunView(run_id="long", state=state, now_s=state.last_t_ns / 1e9, smoothers=smoothers)
        dashboard_lines(view, width=WIDTH, height=HEIGHT, log=("a line",) * 20)
        taken.append(1000 * (time.perf_counter() - started_s))
    return taken


async def time_frames(root: Path) -> list[float]:
    """The dashboard in the running application."""
    from tuitrain.runs.store import RunStore
    from tuitrain.tui.app import TuitrainApp

    rng, taken = np.random.default_rng(0), []
    app = TuitrainApp(store=RunStore(root), run_id="long", describe_machine=lambda: "benchmark")
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        screen = app.screen
        while not screen.tail.caught_up.is_set():
            await pilot.pause(0.05)
        for _ in range(FRAMES):
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
