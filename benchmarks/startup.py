"""Seconds until `tuitrain --help` is done and until the interface's first frame, with the modules they import.

The limits are ours: 0.4 s and 1.5 s, and neither may import torch. `python -c pass` is the floor nothing can go below.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks.common import median, save, scratch_home, table

RUNS = 9
FIRST_FRAME = """
import sys, time
start = time.perf_counter()
from tuitrain.tui.app import TuitrainApp
import asyncio
async def main():
    app = TuitrainApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        print(time.perf_counter() - start, 'torch' in sys.modules)
asyncio.run(main())
"""


def seconds(command: list[str]) -> list[float]:
    """Wall seconds of several whole processes."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Measure and save."""
    scratch_home()
    floor = seconds([sys.executable, "-c", "pass"])
    shown = seconds([sys.executable, "-m", "tuitrain", "--help"])
    frames, torch_loaded = [], False
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", FIRST_FRAME], check=True, capture_output=True, text=True)
        text, loaded = done.stdout.split()[-2:]
        frames.append(float(text))
        torch_loaded |= loaded == "True"
    rows = [["what", "median s", "min s", "max s"]]
    rows += [[name, *(f"{value:.3f}" for value in (median(times), min(times), max(times)))]
             for name, times in (("python -c pass", floor), ("tuitrain --help", shown), ("first frame", frames))]  # fmt: skip
    table(rows)
    print(f"torch imported: {torch_loaded}")
    save("startup", {"runs": RUNS, "python_s": floor, "help_s": shown, "first_frame_s": frames, "torch_imported": torch_loaded})


if __name__ == "__main__":
    main()
