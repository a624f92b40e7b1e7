"""Reading files: every format plain and compressed, resuming anywhere, and every kind of bad row named with its line."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tuitrain.data.records import MAX_ROW_BYTES, BadRow, Document
from tuitrain.data.sources import FileSource, Gauge
from tuitrain.data.sources.base import END
from tuitrain.data.sources.text import part_end
from tuitrain.errors import DataError


def read(path, **options):
    """All records of all inputs of a source."""
    source = FileSource(path, **options)
    return [record for item in source.inputs() for record in source.read(item, after=0, gauge=Gauge())]


def write_rows(path, rows):
    """Rows of JSON in the format and compression the name asks for."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        plain = path.with_name(name)
        pq.write_table(pa.Table.from_pylist(rows), plain, row_group_size=3)
        data = plain.read_bytes()
        plain.unlink()
    elif name.endswith(".json"):
        data = json.dumps(rows, indent=1).encode()
    else:
        data = "\n".join(map(json.dumps, rows)).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data[: len(data) // 2]) + zstandard.compress(data[len(data) // 2 :])  # two frames
    path.write_bytes(data)
    return path


FORMATS = [f"{kind}{codec}" for kind in ("rows.jsonl", "rows.json", "rows.parquet") for codec in ("", ".gz", ".zst")]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_and_compression_reads_alike_and_resumes_anywhere(tmp_path, name):
    path = write_rows(tmp_path / name, [{"text": f"text \u00e9 {number}\n", "other": number} for number in range(10)])
    source = FileSource(path)
    (item,) = source.inputs()
    records = list(source.read(item, after=0, gauge=Gauge()))
    assert [record.text for record in records] == [f"text \u00e9 {number}\n" for number in range(10)]
    assert [record.index for record in records] == sorted({record.index for record in records})
    for record in records:
        rest = list(source.read(item, after=record.index, gauge=Gauge()))
        assert rest == [each for each in records if each.index > record.index]


@pytest.mark.parametrize("codec", ["", ".gz", ".zst"])
def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path, codec):
    for name in ("b/x.txt", "a.md", "b/a/y.py", ".git/config", "__pycache__/z.txt", "b/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        data = name.encode()
        packed = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[codec]
        (tmp_path / f"{name}{codec}").write_bytes(packed)
    assert [record.text for record in read(tmp_path)] == ["a.md", "b/a/y.py", "b/x.txt"]
    assert [record.text for record in read(tmp_path, glob=f"**/*.py{codec}")] == ["b/a/y.py"]


def test_a_long_file_is_read_in_parts_that_make_it_up_again(tmp_path):
    text = "".join(f"paragraph {number}\nline two\n\n" for number in range(20_000))
    (tmp_path / "book.txt").write_text(text)
    (tmp_path / "other.txt").write_text("short")
    *parts, _short = read(tmp_path)
    assert "".join(part.text for part in parts) == text
    assert len(parts) == 1
    alone = read(tmp_path / "book.txt")
    assert "".join(part.text for part in alone) == text
    assert 90 < len(alone) < 220, "a single file is cut fine enough to hold something out"
    assert all(part.text.endswith("\n\n") for part in alone)
    lines = text.split("\n")
    for part in alone:
        assert part.text.startswith(lines[int(part.where.rpartition(":")[2]) - 1])


@pytest.mark.parametrize("unit", ["\u4e2d", "a", "word ", "\U0001f469"])
def test_parts_without_lines_never_split_a_character(tmp_path, unit):
    text = unit * 30_000
    (tmp_path / "line.txt").write_text(text)
    records = read(tmp_path / "line.txt")
    assert all(isinstance(record, Document) for record in records)
    assert "".join(record.text for record in records) == text
    assert len(records) > 5


def test_parts_end_at_the_best_place_near_the_limit():
    assert part_end(b"a\n\nb\nc d efgh", 12) == 8  # only the second half counts: before its last space
    assert part_end(b"aaaaaa\n\nb\nc d", 12) == 8
    assert part_end(b"aaaaaaaab\nc d", 12) == 10
    assert part_end("aaaaaaaaa\u4e2d".encode(), 11) == 9


def test_marks_at_the_beginning_of_a_file_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "row"}\n')
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf[{"text": "element"}]')
    assert [record.text for record in read(tmp_path)] == ["hello", "row", "element"]


def test_json_is_an_array_an_object_or_lines(tmp_path):
    (tmp_path / "array.json").write_text('[\n {"text": "a]\\n,"},{"text":"b"}\n,\n{"text": "c"}]\n')
    (tmp_path / "lines.json").write_text('{"text": "d"}\n\n{"text": "e"}\n')
    (tmp_path / "object.json").write_text('{\n "text": "f"\n}\n')
    records = read(tmp_path)
    assert [record.text for record in records] == ["a]\n,", "b", "c", "d", "e", "f"]
    assert [record.where.rpartition(":")[2] for record in records] == ["2", "2", "4", "1", "3", "1"]


def test_an_array_longer_than_a_buffer_is_streamed(tmp_path):
    rows = [{"text": "x" * (1 << 16) + str(number)} for number in range(20)]
    (tmp_path / "big.json").write_text(json.dumps(rows))
    assert [record.text for record in read(tmp_path / "big.json")] == [row["text"] for row in rows]


BAD_LINES = [
    (b'{"text": "caf\xe9"}', "encoding", "0xe9 at offset 13"),
    (b'{"text": "half', "syntax", "not JSON"),
    (b"[" * 100_000, "syntax", "not JSON"),
    (b'{"txt": "a", "id": 1}', "key", "no key 'text' (keys: id, txt)"),
    (b'{"text": null}', "null", "null"),
    (b'{"text": 5}', "type", "of type int"),
    (b'["text"]', "type", "an array, not an object"),
    (b'{"text": ""}', "empty", "empty"),
    (b'{"text": "\\ud800"}', "encoding", "surrogate"),
]


@pytest.mark.parametrize(
    ("line", "kind", "problem"), BAD_LINES, ids=[f"{kind}-{number}" for number, (_, kind, _) in enumerate(BAD_LINES)]
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, line, kind, problem):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    before, bad, after = read(path)
    assert (before.text, after.text) == ("before", "after")
    assert (bad.where, bad.kind) == (f"{path}:2", kind)
    assert problem in bad.problem


def test_bad_elements_of_an_array_are_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"text": "a"},\n{"text": "caf\xe9"},\n{"text": null}, 7,\n{"text": "b"}]')
    records = read(path)
    assert [getattr(record, "text", None) or record.kind for record in records] == ["a", "encoding", "null", "type", "b"]
    assert [record.where.rpartition(":")[2] for record in records] == ["1", "2", "3", "3", "4"]


@pytest.mark.parametrize("tail", [b'{"text": ', b"{oops}]", b'{"text": "b"}'])
def test_a_broken_array_keeps_what_came_before(tmp_path, tail):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"text": "a"},\n' + tail)
    first, *_, bad = read(path)
    assert first.text == "a"
    assert (bad.kind, bad.where) == ("syntax", f"{path}:2")
    assert "rest of the file is left out" in bad.problem


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.txt.gz", "a.parquet"])
def test_an_empty_file_is_a_bad_row(tmp_path, name):
    data = {"a.txt.gz": gzip.compress(b"")}.get(name, b"")
    (tmp_path / name).write_bytes(data)
    (bad,) = read(tmp_path / name)
    assert bad.kind == ("unreadable" if name == "a.parquet" else "empty")


@pytest.mark.parametrize("data", [b"[]", b" \n", b"\n\n"])
def test_a_file_without_rows_is_a_bad_row(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    (bad,) = read(tmp_path / "a.json")
    assert bad.kind == "empty"


def test_bad_bytes_in_text_are_named_by_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"one\ntwo caf\xe9\nthree")
    (tmp_path / "utf16.txt").write_bytes("hello".encode("utf-16"))
    latin, utf16 = read(tmp_path)
    assert (latin.where, latin.kind) == (f"{tmp_path}/latin.txt:2", "encoding")
    assert "UTF-16" in utf16.problem


@pytest.mark.parametrize(("name", "compress"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
@pytest.mark.parametrize("keep", [0.5, 0.99, -1])
def test_a_truncated_file_gives_what_it_holds_and_says_so(tmp_path, name, compress, keep):
    rows = b"".join(b'{"text": "%d %s"}\n' % (number, str(hash(str(number))).encode()) for number in range(20_000))
    data = compress(rows)
    path = tmp_path / name
    path.write_bytes(data[:keep] if keep < 0 else data[: int(len(data) * keep)])
    source = FileSource(path)
    (item,) = source.inputs()
    *documents, bad = source.read(item, after=0, gauge=Gauge())
    assert all(isinstance(each, Document) for each in documents[:-1])
    assert bad.kind == "truncated"
    assert bad.where == f"{path}:{documents[-1].index + 1 if documents else 1}"
    assert list(source.read(item, after=documents[5].index, gauge=Gauge()))[-1] == bad if documents else True
    assert not list(source.read(item, after=END, gauge=Gauge())), "a resumed run counts it once"


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_file_that_is_not_what_its_suffix_says_is_unreadable(tmp_path, name):
    (tmp_path / name).write_bytes(b"plain text, not compressed at all")
    (bad,) = read(tmp_path / name)
    assert bad.kind == "unreadable"


def test_a_link_to_nowhere_is_unreadable(tmp_path):
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "here.txt").write_text("here")
    gone, here = read(tmp_path)
    assert (gone.kind, gone.where, here.text) == ("unreadable", f"{tmp_path}/gone.txt:1", "here")


def test_parquet_problems_are_named_by_row(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "", "b"]}), path)
    records = read(path)
    assert [getattr(record, "text", None) or record.kind for record in records] == ["a", "null", "empty", "b"]
    assert records[1].where == f"{path}:2"
    (missing,) = read(path, text_key="body")
    assert (missing.kind, missing.problem) == ("key", "no column 'body' (columns: text)")


def test_parquet_numbers_and_bad_bytes_are_bad_rows(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    raw = pa.array([b"good", b"caf\xe9"], pa.binary())
    pq.write_table(
        pa.table({"text": pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])}), tmp_path / "b.parquet"
    )
    pq.write_table(pa.table({"text": raw}), tmp_path / "c.parquet")
    records = read(tmp_path)
    assert [getattr(record, "text", None) or record.kind for record in records] == [
        "type", "type", "good", "encoding", "good", "encoding",
    ]  # fmt: skip


def test_a_broken_row_group_leaves_the_others(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": [f"row {number} " * 50 for number in range(30)]}), path, row_group_size=10, compression="zstd"
    )
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = group.dictionary_page_offset or group.data_page_offset
    data[start : start + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    path.write_bytes(data)
    records = read(path)
    assert [record.index for record in records if isinstance(record, Document)] == [*range(1, 11), *range(21, 31)]
    (bad,) = [record for record in records if isinstance(record, BadRow)]
    assert (bad.kind, bad.where) == ("unreadable", f"{path}:11")


def test_a_row_too_long_for_memory_is_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "before"}\n{"text": "')
        for _ in range(MAX_ROW_BYTES // (1 << 20) + 1):
            file.write(b"a" * (1 << 20))
        file.write(b'"}\n{"text": "after"}\n')
    before, bad, after = read(path)
    assert (before.text, bad.kind, bad.where, after.text, after.where) == (
        "before",
        "too-long",
        f"{path}:2",
        "after",
        f"{path}:3",
    )


@pytest.mark.parametrize("make", ["missing", "empty", "no-match", "glob"])
def test_a_source_without_files_is_an_error_with_a_hint(tmp_path, make):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a") if make in ("no-match", "glob") else None
    path = tmp_path / ("missing" if make == "missing" else "folder")
    with pytest.raises(DataError) as error:
        FileSource(path, glob={"no-match": "*.md", "glob": "/etc/*"}.get(make, "**/*")).inputs()
    assert error.value.hint


def test_progress_moves_with_the_disk_not_with_the_text(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "row"}\n' * 200_000))
    source, gauge = FileSource(path), Gauge()
    (item,) = source.inputs()
    assert sum(1 for _ in source.read(item, after=0, gauge=gauge)) == 200_000
    assert gauge.bytes_done == path.stat().st_size == item.size_bytes
