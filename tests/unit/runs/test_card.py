"""The model card says what happened, from the run's own files, and lets no text break out of its table."""

from __future__ import annotations

from pathlib import Path

from support.attempts import attempt
from support.runs import tiny_run

from tuitrain.config.schema import SourceSection
from tuitrain.files import read_json, write_json
from tuitrain.runs.card import FILE, card
from tuitrain.runs.data_facts import cutoff


def test_every_run_ends_with_its_card(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, "train.steps=3")
    assert attempt(run) == 0
    text = (run.path / FILE).read_text()
    assert "trained from nothing" in text
    assert "| 3 |" in text, "the last evaluation"
    facts = read_json(run.path / "data.json")
    assert facts["sources"][0]["content_hash"][:16] in text
    assert "energy measured" in text
    assert "train.steps" in text


def test_hostile_text_stays_in_its_cell(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, "train.steps=3")
    assert attempt(run) == 0
    facts = read_json(run.path / "data.json")
    facts["sources"][0]["name"] = "evil | cell\n# heading \x1b[31m<script>"
    write_json(run.path / "data.json", facts)
    text = card(run.path)
    assert "\x1b" not in text
    assert "\n# heading" not in text
    assert "evil \\| cell" in text


def test_the_cut_off_of_files_is_their_newest_date(tmp_path: Path) -> None:
    import os

    for name, day in (("old.txt", 86_400 * 365), ("new.txt", 86_400 * 366)):
        (tmp_path / name).write_text("text")
        os.utime(tmp_path / name, (day, day))
    assert cutoff(SourceSection(path=tmp_path)).startswith("1971-01-02")
    assert "built" in cutoff(SourceSection(corpus="python-docstrings"))
    assert "unknown" in cutoff(SourceSection(dataset="owner/name"))
