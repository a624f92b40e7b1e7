"""Reading a source of examples whole: files of every kind, folders, datasets, limits, what is wrong with rows, and the hash."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tuitrain.config.schema import SourceSection
from tuitrain.data.chat.read import read_items
from tuitrain.data.records import bad_row_error
from tuitrain.data.sources import delimited, open_source
from tuitrain.errors import DataError


def read(path, *, system_prompt=None, **section):
    """(items, bad rows, summary) of a file or folder."""
    bad = []
    result = read_items(SourceSection(path=path, **section), system_prompt=system_prompt, on_bad=bad.append)
    return list(result), bad, result.summary


def conversation(number):
    return {"messages": [{"role": "user", "content": f"q\u00e9 {number}"}, {"role": "assistant", "content": f"a\n{number}"}]}


ROWS = [{"instruction": f'do, "{number}"\nnow \u00e9', "output": f"done\t{number}"} for number in range(60)]


def write(path, rows):
    """Rows as the name of the file asks for."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    plain = path.with_name(name)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), plain, row_group_size=7)
    elif name.endswith((".csv", ".tsv")):
        with plain.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if name.endswith(".tsv") else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        plain.write_text(json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows)))
    data = plain.read_bytes()
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    if plain != path:
        plain.unlink()
    path.write_bytes(pack(data))
    return path


@pytest.mark.parametrize("codec", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.parquet", "a.csv", "a.tsv"])
def test_every_kind_of_file_gives_the_same_items(tmp_path, name, codec):
    path = write(tmp_path / f"{name}{codec}", ROWS)
    items, bad, summary = read(path)
    assert [[message.content for message in item.messages] for item in items] == [[*row.values()] for row in ROWS]
    assert not bad
    assert (summary.rows, summary.items, summary.name) == (60, 60, str(path))
    assert summary.format == "alpaca (50 of 50 rows): instruction, output"
    assert summary.content_hash == read(write(tmp_path / "other.jsonl", ROWS))[2].content_hash
    assert len({item.where for item in items}) >= (1 if name == "a.json" else 60)


def test_nested_turns_come_out_of_parquet(tmp_path):
    path = write(tmp_path / "a.parquet", [conversation(number) for number in range(20)])
    items, _, summary = read(path)
    assert [item.where for item in items] == [f"{path}:{number}" for number in range(1, 21)]
    assert items[3].messages[1].content == "a\n3"
    assert summary.detection.format == "messages"


def test_parquet_rows_with_broken_text_are_named(tmp_path):
    raw = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary())
    broken = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"prompt": ["a", "b", "c"], "completion": broken}), tmp_path / "a.parquet")
    items, bad, _ = read(tmp_path / "a.parquet")
    assert [item.messages[1].content for item in items] == ["good", "fine"]
    assert [(row.kind, row.where) for row in bad] == [("encoding", f"{tmp_path}/a.parquet:2")]


NASTY = [
    (b'{"messages": [{"role": "user", "content": NaN}, {"role": "assistant", "content": "a"}]}', "type"),
    (b'{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "a"}]}', "null"),
    (b'{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]}', "encoding"),
    (b'{"messages": [{"role": "user", "content": "caf\xe9"}, {"role": "assistant", "content": "a"}]}', "encoding"),
    (b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "syntax"),
    (b'{"messages": ' + b"[" * 200 + b"]" * 200 + b"}", "type"),
    (b'{"messages": [{"role": "user", "content": "q"}', "syntax"),
    (b'["messages"]', "type"),
    (b'"messages"', "type"),
    (b"null", "type"),
    (b"{}", "key"),
    (b'{"messages": 1e999}', "type"),
    (b'{"messages": ' + b"9" * 5000 + b"}", "syntax"),
]


@pytest.mark.parametrize(("line", "kind"), NASTY, ids=[f"{number}-{kind}" for number, (_, kind) in enumerate(NASTY)])
def test_nasty_rows_are_named_and_the_others_read(tmp_path, line, kind):
    path = tmp_path / "a.jsonl"
    good = json.dumps(conversation(1)).encode()
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\n" + line + b"\r\n\n" + good)
    items, bad, summary = read(path)
    assert [item.where for item in items] == [f"{path}:1", f"{path}:4"]
    assert [(row.where, row.kind) for row in bad] == [(f"{path}:2", kind)]
    assert (summary.rows, summary.to_dict()["bad"]["by_kind"]) == (3, {kind: 1})


def test_a_line_of_megabytes_is_read_and_one_too_long_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("tuitrain.data.sources.jsonl.MAX_ROW_BYTES", 4 << 20)
    rows = [conversation("x" * size) for size in (1, (1 << 20) + 1, 3 << 20, 1)]
    items, bad, _ = read(write(tmp_path / "a.jsonl", rows))
    assert [len(item.messages[0].content) > 1 << 20 for item in items] == [False, True, False]
    assert [row.kind for row in bad] == ["too-long"]


def test_csv_rows_are_named_by_the_line_they_begin_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfprompt,completion,label\r\n"two\r\nlines","say ""hi""",true\r\n\r\n'
        b"only,two\r\ncaf\xe9,b,false\r\nx,y,false\r\n\"open,never,closed\r\nz,z,true\r\n"
    )  # fmt: skip
    items, bad, summary = read(path)
    assert summary.detection.format == "judged"
    assert [(item.prompt[0].content, item.completion[0].content, item.liked) for item in items] == [
        ("two\r\nlines", 'say "hi"', True),
        ("x", "y", False),
    ]
    assert [row.where.rpartition(":")[2] for row in bad] == ["5", "6", "8"]
    assert [row.kind for row in bad] == ["syntax", "encoding", "syntax"]
    assert bad[0].problem == "2 fields where the header names 3"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no row"),
        ("prompt,completion\n", "holds no row"),
        ("prompt,prompt\na,b\n", "names 'prompt' twice"),
        ('"prompt"x,b\na,b\n', ":1: not CSV"),
    ],
)
def test_csv_without_rows_is_an_error(tmp_path, text, problem):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=problem):
        read(tmp_path / "a.csv")


def test_csv_with_semicolons_and_with_answers_longer_than_the_modules_limit(tmp_path):
    (tmp_path / "a.csv").write_text(f"question;answer\nq;{'long, ' * 50_000}\n")
    items, bad, _ = read(tmp_path / "a.csv")
    assert (len(items[0].messages[1].content), bad) == (300_000, [])


def test_a_csv_row_too_long_for_memory_ends_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 1000)
    (tmp_path / "a.csv").write_text("prompt,completion\na,b\n" + '"' + "line\n" * 300 + '",c\nd,e\n')
    items, bad, _ = read(tmp_path / "a.csv")
    assert len(items) == 1
    assert [(row.kind, row.where) for row in bad] == [("too-long", f"{tmp_path}/a.csv:3")]
    (tmp_path / "b.csv").write_text("x" * 2000)
    with pytest.raises(DataError, match="longer than"):
        read(tmp_path / "b.csv")


def test_of_a_folder_the_files_that_hold_rows_are_read(tmp_path):
    (tmp_path / "README.md").write_text("about")
    write(tmp_path / "b.jsonl", ROWS[:2])
    write(tmp_path / "a.csv.gz", ROWS[2:4])
    items, bad, summary = read(tmp_path)
    assert [item.messages[0].content for item in items] == [row["instruction"] for row in (*ROWS[2:4], *ROWS[:2])]
    assert (bad, summary.rows) == ([], 4)
    with pytest.raises(DataError, match="holds rows") as error:
        read(tmp_path / "README.md")
    assert ".jsonl" in error.value.hint


def test_the_limit_counts_examples_and_reads_no_further(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"instruction": "i", "output": ""}, *ROWS])
    items, bad, summary = read(path, limit=3)
    assert (len(items), len(bad), summary.rows) == (3, 1, 4)
    assert summary.content_hash == read(write(tmp_path / "b.jsonl", ROWS[:3]))[2].content_hash


def test_the_hash_is_of_what_is_learnt(tmp_path):
    path = write(tmp_path / "a.jsonl", ROWS)
    known = read(path)[2].content_hash
    assert read(path)[2].content_hash == known
    assert read(write(tmp_path / "b.jsonl", ROWS[::-1]))[2].content_hash != known
    assert read(path, system_prompt="s")[2].content_hash != known
    assert (
        read(path, format="prompt-completion", columns={"prompt": "instruction", "completion": "output"})[2].content_hash
        != known
    )
    one = read(write(tmp_path / "c.jsonl", ROWS[:1]))[2].content_hash
    assert one == "d9410cac7a554e2bd1afe479376e1e7bfafaeccfc66b8d7bfbb4ace47fd5eebf", "the same on every machine, always"


def test_a_reader_of_bad_rows_may_stop_it(tmp_path):
    path = write(tmp_path / "a.jsonl", [ROWS[0], {"instruction": "i", "output": None}, ROWS[1]])

    def stop(row):
        raise bad_row_error(row)

    result = read_items(SourceSection(path=path), system_prompt=None, on_bad=stop)
    next(result)
    with pytest.raises(DataError, match=r"a\.jsonl:2: output is null"):
        next(result)


def test_a_format_that_cannot_be_told_is_an_error_before_anything_is_read(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"title": "t", "body": "b"}])
    with pytest.raises(DataError, match="title: text, body: text") as error:
        read_items(SourceSection(path=path), system_prompt=None, on_bad=print)
    assert "data.sources.N" in error.value.hint


@pytest.mark.parametrize(("data", "problem"), [(b"", "holds no row"), (b"{\n" * 3000, "not JSON"), (b"[]", "an array")])
def test_a_file_without_a_good_row_is_an_error(tmp_path, data, problem):
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=f"no row of .*a.jsonl can be read: .*:1: .*{problem}"):
        read(tmp_path / "a.jsonl")


def test_datasets_are_streamed(monkeypatch):
    asked = []

    def load_dataset(name, subset, **options):
        asked.append((name, subset, options))
        return [conversation(number) for number in range(3)]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    hub = SimpleNamespace(HfApi=lambda: SimpleNamespace(dataset_info=lambda name, timeout: SimpleNamespace(sha="abc")))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    revisions = {}
    section = SourceSection(dataset="owner/set", split="train_sft")
    items = list(read_items(section, system_prompt=None, on_bad=print, revisions=revisions))
    assert [item.where for item in items] == [f"owner/set [train_sft]:{number}" for number in (1, 2, 3)]
    assert asked == [("owner/set", None, {"split": "train_sft", "streaming": True, "revision": "abc"})]
    assert revisions == {"owner/set": "abc"}


def test_the_embedded_examples_are_a_source_like_any_other():
    section = SourceSection(corpus="python-docstrings", limit=100)
    result = read_items(section, system_prompt="s", on_bad=print)
    assert len(list(result)) == 100
    assert result.summary.detection is None
    assert "docstrings" in result.summary.format
    assert json.dumps(result.summary.to_dict())


@pytest.mark.parametrize(
    "section", [{}, {"corpus": "python-docstrings", "path": "x"}, {"corpus": "python-stdlib"}, {"path": "gone"}]
)
def test_a_source_that_is_none_is_an_error_with_a_hint(section):
    with pytest.raises(DataError) as error:
        read_items(SourceSection(**section), system_prompt=None, on_bad=print)
    assert error.value.hint


def test_examples_are_no_text():
    with pytest.raises(DataError, match="examples, not text") as error:
        open_source(SourceSection(corpus="python-docstrings"), {})
    assert "sft" in error.value.hint


def test_reading_loads_nothing_heavy():
    script = "import sys, tuitrain.data.chat.read; print(*{name.partition('.')[0] for name in sys.modules})"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert not set(done.stdout.split()) & {"torch", "transformers", "datasets", "pyarrow", "zstandard", "numpy", "textual"}
