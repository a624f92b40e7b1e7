"""From arguments to exit code: the one place where errors become messages."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from tuitrain.cli.diagnostics import fail, say
from tuitrain.errors import (
    EXIT_DOES_NOT_FIT,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RUN_FAILED,
    EXIT_USAGE,
    TuitrainError,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Never raises; a bug ends with its traceback and exit code 1."""
    from typer.exceptions import Abort, TyperException

    from tuitrain.cli.app import app
    from tuitrain_planners.errors import PlanError

    try:
        result = app(list(arguments), standalone_mode=False, prog_name="tuitrain")
    except TuitrainError as error:
        fail(error.message, error.hint)
        return error.exit_code
    except PlanError as error:
        fail(error.message, error.hint)
        return EXIT_DOES_NOT_FIT if error.kind == "fit" else EXIT_USAGE
    except TyperException as error:
        context = getattr(error, "ctx", None)
        where = " ".join(context.command_path.split()) if context else "tuitrain"
        fail(error.format_message(), f"`{where} --help` shows the usage")
        return EXIT_USAGE
    except (KeyboardInterrupt, Abort):
        say("")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe left: nobody is there to be told
        _discard_output()
        return EXIT_RUN_FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        fail(f"no space left on the device{f' of {error.filename}' if error.filename else ''}", "free some, then try again")
        return EXIT_ENVIRONMENT
    return result if isinstance(result, int) else EXIT_OK


def _discard_output() -> None:
    """What is still buffered cannot be written either, and Python would try at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
