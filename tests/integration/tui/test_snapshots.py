"""The main screens, pixel for pixel, at three sizes in colour and in ASCII."""

from __future__ import annotations

import pytest

from .conftest import make_app, settled, until

pytestmark = pytest.mark.snapshot
SIZES = [(80, 24), (120, 40), (200, 50)]
SCREENS = {
    "home-empty": ([], []),
    "home-with-runs": (["resumed", "paused", "failed", "finished"], []),
    "dashboard": (["resumed"], ["enter"]),
    "flight": (["blocked"], ["enter", "f"]),
    "dashboard-ranks": (["ranks"], ["enter"]),
    "ranks": (["ranks"], ["enter", "k", "down", "down"]),
    "tokens": (["tuned"], ["enter", "t", "tab", "right"]),
    "plan": ([], ["p"]),
    "plan-oom": ([], ["p", *["down"] * 7, "right", "right"]),
    "plan-typing": ([], ["p", "down", "down", "enter", "a", "1"]),
    "plan-error": ([], ["p", "down", "down", "down", "8", "x"]),
}


@pytest.mark.parametrize("ascii_only", [False, True], ids=["dark", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
@pytest.mark.parametrize("name", SCREENS)
def test_screen(snap_compare, tmp_path, name, size, ascii_only):
    stories, keys = SCREENS[name]
    app, _ = make_app(tmp_path / "runs", stories, ascii_only=ascii_only, total=1200)

    async def ready(pilot):
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        planning = getattr(pilot.app.screen, "planning", None)
        if planning is not None:
            await until(pilot, lambda: planning.settled or planning.stale)
            await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=ready)


async def test_the_picture_of_the_plan_in_docs_is_of_this_screen():
    """`PYTHONPATH=tests python -m support.screenshots` writes it anew."""
    from support.screenshots import PLAN_SVG, plan_svg

    assert await plan_svg() == PLAN_SVG.read_text(encoding="utf-8")
