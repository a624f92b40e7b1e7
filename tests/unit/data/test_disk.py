"""Locks between processes, and what a full or forbidden disk says."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from tuitrain.data.disk import disk_errors, exclusive, write_all
from tuitrain.errors import EnvironmentError_


def test_partial_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    write_all(fd, b"0123456789")
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_what_is_needed_and_free(tmp_path, number):
    message = r"about 12,345 more bytes are needed, [\d,]+ are free"
    with pytest.raises(EnvironmentError_, match=message) as error, disk_errors(tmp_path, lambda: 12345):
        raise OSError(number, "full")
    assert "kept" in error.value.hint


def test_a_forbidden_folder_is_an_error_and_others_pass(tmp_path):
    with pytest.raises(EnvironmentError_, match="cannot write to"), disk_errors(tmp_path, lambda: 1):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(EnvironmentError_, match="no file locks"), disk_errors(tmp_path, lambda: 1):
        raise OSError(errno.ENOLCK, "No locks available")
    with pytest.raises(ConnectionError), disk_errors(tmp_path, lambda: 1):
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
