"""The embedded corpus: this Python's library, without tests, the same split everywhere."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tuitrain.data.records import Document
from tuitrain.data.sources import Gauge, StdlibSource
from tuitrain.data.split import is_held_out
from tuitrain.errors import DataError


@pytest.fixture(scope="module")
def documents():
    source = StdlibSource()
    return [record for item in source.inputs() for record in source.read(item, after=0, gauge=Gauge())]


def test_it_is_all_readable_source_code(documents):
    assert all(isinstance(document, Document) for document in documents)
    assert 5e6 < sum(len(document.text) for document in documents) < 5e7
    json_files = [document for document in documents if document.split_key.startswith("json/")]
    assert {"json/decoder.py", "json/encoder.py"} <= {document.split_key for document in json_files}
    assert all(document.where == f"python-stdlib/{document.split_key}:1" for document in documents)


def test_tests_caches_packages_and_this_machines_settings_are_left_out(documents):
    names = [document.split_key for document in documents]
    parts = {part for name in names for part in name.split("/")[:-1]}
    assert not parts & {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "__pycache__"}
    assert not [name for name in names if "_sysconfigdata" in name or "config-" in name]
    assert names == sorted(names)


def test_each_file_is_one_document(documents):
    names = [document.split_key for document in documents]
    assert len(names) == len(set(names))
    root = Path(sysconfig.get_path("stdlib"))
    assert documents[3].text == (root / names[3]).read_bytes().decode()


def test_the_split_follows_the_names_alone(documents):
    held_out = {document.split_key for document in documents if is_held_out(document, 0.05)}
    assert 0.02 < len(held_out) / len(documents) < 0.09
    empty = [Document(text="", where="", split_key=document.split_key) for document in documents]
    assert {document.split_key for document in empty if is_held_out(document, 0.05)} == held_out
    assert {"asyncio/events.py", "code.py", "http/client.py", "tarfile.py", "timeit.py"} <= held_out, (
        "the same everywhere, always"
    )


def test_a_python_without_sources_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(DataError, match="keeps no source") as error:
        StdlibSource(tmp_path).inputs()
    assert error.value.hint
