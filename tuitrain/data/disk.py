"""What a disk can do to a preparation: fill up, be closed to us, be shared with other processes. Standard library only."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tuitrain.errors import EnvironmentError_
from tuitrain.files import exclusive_lock

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_LOCK_POLL_S = 0.1


def write_all(fd: int, data: bytes) -> None:
    """os.write until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def disk_errors(folder: Path, needed_bytes: Callable[[], int]) -> Iterator[None]:
    """A full disk becomes an error that names what is needed and free. So does a folder closed to us, or one without locks."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            free_bytes = 0
            with suppress(OSError):
                free_bytes = shutil.disk_usage(folder).free
            sizes = f"about {needed_bytes():,} more bytes are needed, {free_bytes:,} are free"
            message = f"the disk of {folder} is full: {sizes} ({error.strerror})"
            hint = (
                "free some space and start again, finished pieces are kept; or set TUITRAIN_HOME to a folder on a larger disk"
            )
        elif error.errno in _CLOSED:
            message = f"cannot write to {folder} ({error.strerror})"
            hint = "set TUITRAIN_HOME to a folder you may write to"
        elif error.errno in _NO_LOCKS:
            message = f"the file system of {folder} has no file locks ({error.strerror})"
            hint = "set TUITRAIN_HOME to a folder on a local disk"
        else:
            raise
        raise EnvironmentError_(message, hint) from error


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; call `waiting` again and again while another process does. A dead process holds nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with exclusive_lock(path, wait=False) as held:
            if held:
                yield
                return
        waiting()
        time.sleep(_LOCK_POLL_S)
