"""Atomic files, locks, and what a full disk says."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from tuitrain.data.disk import disk_space_errors, exclusive, write_all, write_atomic, write_json
from tuitrain.errors import EnvironmentError_


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_partial_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    write_all(fd, b"0123456789")
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_equal_values_give_equal_bytes(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": [2]})
    write_json(tmp_path / "b", {"y": [2], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_what_is_needed_and_free(tmp_path, number):
    message = r"about 12,345 more bytes are needed, [\d,]+ are free"
    with pytest.raises(EnvironmentError_, match=message) as error, disk_space_errors(tmp_path, lambda: 12345):
        raise OSError(number, "full")
    assert "kept" in error.value.hint


def test_a_forbidden_folder_is_an_error_and_others_pass(tmp_path):
    with pytest.raises(EnvironmentError_, match="cannot write to"), disk_space_errors(tmp_path, lambda: 1):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(ConnectionError), disk_space_errors(tmp_path, lambda: 1):
        raise ConnectionError


def test_only_one_holds_a_lock_and_the_others_say_that_they_wait(tmp_path):
    inside, most, waits = 0, 0, []

    def work():
        nonlocal inside, most
        with exclusive(tmp_path / "deep" / "lock", lambda: waits.append(1)):
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert waits


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", lambda: None):
        raise ZeroDivisionError
    with exclusive(tmp_path / "lock", lambda: pytest.fail("still held")):
        pass
