"""The report of bad rows: complete counts, the first names, the same after a round trip."""

from __future__ import annotations

from tuitrain.data.records import KINDS, BadRow
from tuitrain.data.report import NAMED_ROWS, BadRowReport


def report_of(count, kind="null", start=0):
    report = BadRowReport()
    for number in range(start, start + count):
        report.add(BadRow(where=f"file:{number}", kind=kind, problem="the text is null", index=number))
    return report


def test_counts_are_complete_and_names_bounded():
    report = report_of(NAMED_ROWS + 50)
    assert (report.total, len(report.named)) == (NAMED_ROWS + 50, NAMED_ROWS)


def test_pieces_add_up_in_order():
    report = report_of(3)
    report.merge(report_of(NAMED_ROWS, "key", start=3))
    assert report.by_kind == {"null": 3, "key": NAMED_ROWS}
    assert [row.where for row in report.named] == [f"file:{number}" for number in range(NAMED_ROWS)]


def test_a_round_trip_changes_nothing():
    report = report_of(5)
    assert BadRowReport.from_json(report.to_json()) == report


def test_the_summary_fits_one_line():
    report = report_of(2)
    report.merge(report_of(1, "key"))
    assert report.summary() == "3 bad rows: 1 key, 2 null"
    assert BadRowReport().summary() == "0 bad rows"
    assert "null" in KINDS
