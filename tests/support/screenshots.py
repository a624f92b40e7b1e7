"""The pictures in docs/ of a screen. `PYTHONPATH=tests python -m support.screenshots` writes them, a test compares them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from tuitrain.runs.store import RunStore
from tuitrain.tui.app import TuitrainApp
from tuitrain.tui.plan.fields import first_form
from tuitrain.tui.screens.plan import PlanScreen

PLAN_SVG = Path(__file__).parents[2] / "docs" / "plan.svg"
PLAN_SIZE = (120, 36)
PLAN_FORM = first_form(model="llama-3-8b", hardware="h100-80gb", devices="8", zero="3", precision="bf16-mixed")


async def plan_svg() -> str:
    """The Plan screen of `PLAN_FORM`."""
    with tempfile.TemporaryDirectory() as folder:
        app = TuitrainApp(store=RunStore(Path(folder)), describe_machine=lambda: "a machine")
        async with app.run_test(size=PLAN_SIZE) as pilot:
            await pilot.press("p")
            await pilot.pause()
            screen = app.screen
            assert isinstance(screen, PlanScreen)
            screen.planning.change(PLAN_FORM)
            screen.planning.finish()
            screen.paint()
            await pilot.pause()
            svg: str = app.export_screenshot(title="tuitrain")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Write every picture."""
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    PLAN_SVG.write_text(asyncio.run(plan_svg()), encoding="utf-8")


if __name__ == "__main__":
    main()
