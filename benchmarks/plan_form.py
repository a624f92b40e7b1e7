"""What one keystroke in the Plan form costs, against a frame of 16 ms: the plan, the panes, the whole frame in Textual; and, a
moment later, table and cheapest fix.

Each keystroke changes the sequence or the micro-batch of an 8-billion-parameter model on eight GPUs, so that nothing is found
in a cache.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.common import save, table
from benchmarks.dashboard_paint import percentiles

FRAME_MS, KEYS, SIZES = 16.0, 200, ((80, 24), (120, 40), (200, 50))


def main() -> None:
    """Measure and save."""
    parts = time_parts()
    frames = {f"{width}x{height}": asyncio.run(time_frames(width, height)) for width, height in SIZES}
    rows = [["what", "p50 ms", "p95 ms", "max ms", "p95 / frame"]]
    times = {name: percentiles(each) for name, each in {**parts, **{f"key to frame {k}": v for k, v in frames.items()}}.items()}
    rows += [
        [name, *(f"{each:.1f}" for each in found.values()), f"{found['p95'] / FRAME_MS:.2f}"] for name, found in times.items()
    ]
    table(rows)
    save("plan_form", {"keys": KEYS, "frame_ms": FRAME_MS, "times_ms": times})


def _texts() -> list[tuple[str, str]]:
    return [("seq", str(1024 + 64 * index)) if index % 2 else ("micro_batch", str(1 + index // 2 % 8)) for index in range(KEYS)]


def time_parts() -> dict[str, list[float]]:
    """The plan of every keystroke, its panes as lines, and the table and fix behind it."""
    from tuitrain.runs.home import presets_dir
    from tuitrain.tui.plan.reading import Sources
    from tuitrain.tui.plan.state import Planning
    from tuitrain.tui.render.glyphs import UNICODE
    from tuitrain.tui.render.plan_form import form_lines
    from tuitrain.tui.render.plan_page import plan_page
    from tuitrain_planners import PlanError

    def never(precision: str) -> object:
        raise PlanError("not measured")

    planning = Planning(Sources(presets=presets_dir(), measured=never))  # type: ignore[arg-type]
    taken: dict[str, list[float]] = {"plan": [], "panes": [], "table and fix, later": []}

    def clock(name: str, since_s: float) -> None:
        taken[name].append(1000 * (time.perf_counter() - since_s))

    for key, text in _texts():
        planning.form = planning.form.put(**{key: text})
        started_s = time.perf_counter()
        planning.replan()
        clock("plan", started_s)
        started_s = time.perf_counter()
        form_lines(planning, 36, 38, UNICODE)
        plan_page(planning, "all", 83, 38, UNICODE)
        clock("panes", started_s)
        started_s = time.perf_counter()
        planning.finish()
        clock("table and fix, later", started_s)
    return taken


async def time_frames(width: int, height: int) -> list[float]:
    """From the change of a field to the rows Textual writes, in the running application."""
    from tuitrain.runs.store import RunStore
    from tuitrain.tui.app import TuitrainApp

    taken = []
    with tempfile.TemporaryDirectory() as folder:
        app = TuitrainApp(store=RunStore(Path(folder)), describe_machine=lambda: "benchmark")
        async with app.run_test(size=(width, height)) as pilot:
            await pilot.press("p")
            await pilot.pause()
            screen = app.screen
            for key, text in _texts():
                started_s = time.perf_counter()
                screen.planning.form = screen.planning.form.put(**{key: text})  # type: ignore[attr-defined]
                screen.planning.replan()  # type: ignore[attr-defined]
                screen.paint()  # type: ignore[attr-defined]
                screen._on_timer_update()  # Textual's own timer: composite, and write the changed rows
                taken.append(1000 * (time.perf_counter() - started_s))
                await pilot.pause(0)
    return taken


if __name__ == "__main__":
    main()
