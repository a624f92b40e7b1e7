"""The main screens, pixel for pixel, at three sizes in colour and in ASCII."""

from __future__ import annotations

import pytest

from .conftest import make_app, settled

pytestmark = pytest.mark.snapshot
SIZES = [(80, 24), (120, 40), (200, 50)]
SCREENS = {
    "home-empty": ([], []),
    "home-with-runs": (["resumed", "paused", "failed", "finished"], []),
    "dashboard": (["resumed"], ["enter"]),
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

    assert snap_compare(app, terminal_size=size, run_before=ready)
