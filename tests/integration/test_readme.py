"""What README shows of `tuitrain plan` is what the commands print."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(text: str) -> dict[str, list[str]]:
    """Every `$ tuitrain plan ...` of an indented block, and the lines shown below it; `...` stands for lines left out."""
    found: dict[str, list[str]] = {}
    for part in text.split("\n    $ tuitrain ")[1:]:
        command, _, rest = part.partition("\n")
        shown: list[str] = []
        for line in rest.splitlines():
            if line and not line.startswith("    "):
                break
            shown.append(line)
        found[command] = textwrap.dedent("\n".join(shown)).strip("\n").splitlines()
    return found


README = {command: shown for command, shown in blocks((ROOT / "README.md").read_text()).items() if command.startswith("plan ")}


def differs(shown: list[str], printed: list[str]) -> str | None:
    """The first line shown that was not printed where it should be: next, or anywhere later after `...`."""
    at, gap = 0, False
    for line in shown:
        if line == "...":
            gap = True
            continue
        if gap and line in printed[at:]:
            at = printed.index(line, at)
        if at >= len(printed) or printed[at] != line:
            return line
        at, gap = at + 1, False
    return None if gap or at == len(printed) else printed[at]


@pytest.mark.parametrize("command", README)
def test_readme_shows_what_is_printed(command: str) -> None:
    env = {**os.environ, "NO_COLOR": "1"}
    line = [sys.executable, "-m", "tuitrain", *shlex.split(command)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=env, cwd=ROOT)
    printed = textwrap.dedent(done.stdout).strip("\n").splitlines()
    assert differs(README[command], [each.rstrip() for each in printed]) is None, done.stderr


def test_readme_shows_every_way_of_planning() -> None:
    assert len(README) == 7


@pytest.mark.parametrize(
    ("shown", "first_wrong"),
    [
        (["a", "b", "c"], None),
        (["a", "...", "c"], None),
        (["...", "c"], None),
        (["a", "..."], None),
        (["a", "c"], "c"),
        (["a", "b"], "c"),
        (["...", "d"], "d"),
        (["c", "...", "a"], "c"),
    ],
)
def test_lines_left_out_are_marked(shown: list[str], first_wrong: str | None) -> None:
    assert differs(shown, ["a", "b", "c"]) == first_wrong
