"""Fingerprints: read once, noticed when changed, harmless when lost."""

from __future__ import annotations

import hashlib
import os

import pytest

from tuitrain.data.fingerprint import Fingerprints


@pytest.fixture
def old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_an_unchanged_file_is_read_once(tmp_path, old_file, monkeypatch):
    store = Fingerprints(tmp_path / "store.json")
    assert store.of(old_file, lambda count: None) == hashlib.sha256(b"content").hexdigest()
    store.save()
    old_file_open = type(old_file).open
    monkeypatch.setattr(
        type(old_file),
        "open",
        lambda path, *a, **k: pytest.fail("read again") if path == old_file else old_file_open(path, *a, **k),
    )
    seen = []
    assert Fingerprints(tmp_path / "store.json").of(old_file, seen.append) == hashlib.sha256(b"content").hexdigest()
    assert seen == [7]


@pytest.mark.parametrize(("content", "time_ns"), [(b"longer content", 10**18), (b"CONTENT", 10**18 + 1)])
def test_a_changed_file_is_read_again(tmp_path, old_file, content, time_ns):
    store = Fingerprints(tmp_path / "store.json")
    store.of(old_file, lambda count: None)
    old_file.write_bytes(content)
    os.utime(old_file, ns=(time_ns, time_ns))
    assert store.of(old_file, lambda count: None) == hashlib.sha256(content).hexdigest()


def test_a_file_that_was_just_written_is_not_remembered(tmp_path):
    path = tmp_path / "new"
    store = Fingerprints(tmp_path / "store.json")
    path.write_bytes(b"one")
    store.of(path, lambda count: None)
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same tick of the clock
    assert store.of(path, lambda count: None) == hashlib.sha256(b"two").hexdigest()


def test_an_unreadable_file_has_a_fingerprint_of_its_own(tmp_path):
    store = Fingerprints(tmp_path / "store.json")
    assert store.of(tmp_path / "missing", lambda count: None) == "unreadable: 2"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}'])
def test_a_broken_store_is_started_afresh(tmp_path, old_file, content):
    (tmp_path / "store.json").write_text(content)
    store = Fingerprints(tmp_path / "store.json")
    store.revisions["a"] = "1"
    store.of(old_file, lambda count: None)
    store.save()
    assert Fingerprints(tmp_path / "store.json").revisions == {"a": "1"}
