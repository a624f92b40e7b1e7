"""Killed at any time, prepared by two at once, or out of disk: the cache stays whole and the result is the same to the byte."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import time

import pytest

from tuitrain.data import tokenize
from tuitrain.errors import EnvironmentError_


def start(tools, corpus, cache, pause_s):
    return subprocess.Popen(
        tools.child_command(corpus, cache, pause_s), env=tools.child_environment(), stdout=subprocess.PIPE, text=True
    )


def pieces(cache):
    return sorted(cache.rglob("pieces/*.json"))


def test_a_killed_preparation_goes_on_where_it_was_and_ends_the_same(corpus, tmp_path, tools):
    whole, cache, rng = tmp_path / "whole", tmp_path / "killed", random.Random(1)
    tools.run(corpus, whole)
    kills, finished = 0, {}
    while kills < 5:
        child = start(tools, corpus, cache, 0.02)
        wanted = len(pieces(cache)) + rng.randrange(1, 3)
        while child.poll() is None and len(pieces(cache)) < wanted:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        if child.returncode == 0:  # it was quicker than this test
            break
        kills += 1
        for path, stamp in finished.items():
            assert path.stat().st_mtime_ns == stamp, f"{path.name} was done again"
        finished = {path: path.stat().st_mtime_ns for path in pieces(cache)}
    assert kills >= 3, "killed too late to test anything: make the corpus larger"
    tools.run(corpus, cache)
    assert tools.tree(cache) == tools.tree(whole)
    for path, stamp in finished.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was done again"


def test_a_preparation_killed_while_it_finishes_ends_the_same(corpus, tmp_path, tools, monkeypatch):
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    tools.run(corpus, whole)
    replace = os.replace
    for name in (
        "tokenizer.json", "learnt.json", "000000-000.tokens", "000001-000.documents", "000001.json",
        "report.json", "index.json", "entry.json",
    ):  # fmt: skip

        def dies(source, target, name=name):
            if os.path.basename(target) == name:  # noqa: PTH119
                raise SystemExit  # as good as dead: nothing after the rename that did not happen
            return replace(source, target)

        monkeypatch.setattr(os, "replace", dies)
        for _ in range(2):
            with pytest.raises(SystemExit):
                tools.run(corpus, cache / name)
        monkeypatch.undo()
        tools.run(corpus, cache / name)
        assert tools.tree(cache / name) == tools.tree(whole), name


def test_two_at_once_give_one_whole_cache(corpus, tmp_path, tools):
    cache = tmp_path / "cache"
    expected = tools.run(corpus, tmp_path / "whole").content_hash
    children = [start(tools, corpus, cache, 0.01) for _ in range(3)]
    outputs = [child.communicate()[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert [output[-1] for output in outputs] == [f"content {expected}"] * 3
    assert tools.tree(cache) == tools.tree(tmp_path / "whole")
    assert any("wait" in output for output in outputs), "they did not meet: make the corpus larger"


def test_the_survivor_takes_over_from_the_dead(corpus, tmp_path, tools):
    cache = tmp_path / "cache"
    tools.run(corpus, tmp_path / "whole")
    first = start(tools, corpus, cache, 0.05)
    while not pieces(cache):
        time.sleep(0.01)
    second = start(tools, corpus, cache, 0.0)
    while (line := second.stdout.readline().strip()) != "wait":
        assert line, "the second process ended without waiting"
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second.communicate()
    assert second.returncode == 0
    assert tools.tree(cache) == tools.tree(tmp_path / "whole")


@pytest.mark.parametrize("calls", [1, 3, 8, 20])
def test_a_full_disk_is_named_and_leaves_a_whole_cache(corpus, tmp_path, tools, monkeypatch, calls):
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    tools.run(corpus, whole)
    write, left = os.write, [calls]

    def full(fd, data):
        left[0] -= 1
        if left[0] < 0:
            write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(tokenize, "_BATCH_CHARS", 4000)
    with pytest.raises(EnvironmentError_, match=r"is full: about [\d,]+ more bytes are needed, [\d,]+ are free") as error:
        tools.run(corpus, cache)
    assert "kept" in error.value.hint
    assert not list(cache.rglob("*.staged"))
    monkeypatch.undo()
    tools.run(corpus, cache)
    assert tools.tree(cache) == tools.tree(whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(corpus, tmp_path, tools):
    cache = tmp_path / "small"
    cache.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", cache], capture_output=True).returncode:
        pytest.skip("this environment may not mount")
    try:
        with pytest.raises(EnvironmentError_, match=r"is full: about [\d,]+ more bytes are needed, [\d,]+ are free"):
            tools.run(corpus, cache)
        assert not list(cache.rglob("*.staged"))
        subprocess.run(["mount", "-o", "remount,size=10m", cache], check=True)
        tools.run(corpus, cache)
        tools.run(corpus, tmp_path / "whole")
        assert tools.tree(cache) == tools.tree(tmp_path / "whole")
    finally:
        subprocess.run(["umount", cache], check=True)
