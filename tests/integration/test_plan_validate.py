"""`tuitrain plan validate` as it is typed: table, JSON, a source of its own, and files that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "golden" / "data"


def validate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuitrain", "plan", "validate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_json_holds_what_the_contract_names() -> None:
    done = validate(str(DATA / "throughput.csv"), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"id", "metric", "predicted", "measured", "low", "high", "unit", "error", "reason"} <= set(report["rows"][0])
    assert {"rows", "computed", "coverage", "median_error", "p90_error", "bias"} <= set(report["summary"])
    assert report["summary"]["rows"] == len(report["rows"])
    assert set(report["by_source"]) >= {"MPT", "BIGSCI", "TITAN"}
    assert set(report["summaries"]) == {"complete_rows", "without_doubtful_ones"}
    for row in report["rows"]:
        assert (row["predicted"] is None) == (row["reason"] is not None)
        if row["error"] is not None:
            assert row["error"] == pytest.approx(row["predicted"] / row["measured"] - 1)


def test_the_table_shows_every_row_and_a_line_per_source() -> None:
    done = validate(str(DATA / "compute.csv"), "--source", "CHIN3")
    assert done.returncode == 0, done.stderr
    assert "doubtful: the source's 67B row is off" in done.stdout
    assert done.stdout.count("optimal_flops_for_N") == 5
    summary = validate(str(DATA / "compute.csv"), "--summary")
    assert "optimal_flops_for_N" not in summary.stdout
    assert "complete rows" in summary.stdout


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    for text, words in (
        ("", "is empty"),
        ("id,metric,value\na,b,fast\n", "line 2"),
        ("id,metric\na,b\n", "lacks the column value"),
    ):
        bad.write_text(text)
        done = validate(str(bad))
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert validate(str(tmp_path / "none.csv")).returncode == 2
    assert validate(str(tmp_path)).returncode == 2
    nobody = validate(str(DATA / "compute.csv"), "--source", "NOBODY")
    assert nobody.returncode == 2
    assert "CHIN3" in nobody.stderr


def test_an_unknown_column_is_told_and_does_not_stop_it(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,metric,value,colour\nX-Y-1,MFU,40,blue\n")
    done = validate(str(table))
    assert done.returncode == 0
    assert "not read: column colour" in done.stderr
    assert "X-Y-1" in done.stdout
