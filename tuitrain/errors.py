"""The one exception tree. Every error a user can meet says what happened, with the values, and what to do about it.

    TuitrainError            exit 1
    |-- ConfigError          exit 2   the configuration is wrong; carries every problem at once, with file and line
    |-- UsageError           exit 2   a command was asked for something that does not exist or cannot be
    |-- DoesNotFitError      exit 3   the run needs more memory than the device has
    |-- EnvironmentError_    exit 4   this machine lacks something (an extra, a compiler, disk space)
    |   `-- MissingExtraError         ... and one pip command brings it
    |-- DataError            exit 1   the data is broken, and `data.on_error` says to stop
    |-- CheckpointError      exit 1   a checkpoint is incomplete, corrupt, or of another shape
    `-- RunError             exit 1   the run itself failed

This module imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK, EXIT_RUN_FAILED, EXIT_USAGE, EXIT_DOES_NOT_FIT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


class TuitrainError(Exception):
    """Base of every error meant for a user's eyes: `message` says what, with values; `hint` says what to do."""

    exit_code = EXIT_RUN_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"error: {self.message}" + (f"\n\nhint: {self.hint}" if self.hint else "")


class UsageError(TuitrainError):
    """A command was asked for something that does not exist: an unknown run, model, preset or option value."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong with a configuration. `where` is `file:line` or `override a.b=c`; `key` is the dotted name."""

    where: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" + (f" ({self.hint})" if self.hint else "")


CONFIG_HINT = "`tuitrain schema` lists every key with its meaning; `tuitrain train --dry-run` shows what a file resolves to"


class ConfigError(TuitrainError):
    """The configuration is wrong. All problems are reported together, so one edit mends them all."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: list[Problem], hint: str = CONFIG_HINT) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in the configuration"
        super().__init__("\n  ".join([count, *map(str, problems)]), hint)
        self.problems = problems


class DoesNotFitError(TuitrainError):
    """The run does not fit in memory, and no smaller micro-batch at the same global batch would."""

    exit_code = EXIT_DOES_NOT_FIT


class EnvironmentError_(TuitrainError):  # noqa: N801, N818 - the standard library owns `EnvironmentError`
    """This machine lacks something the command needs."""

    exit_code = EXIT_ENVIRONMENT


class MissingExtraError(EnvironmentError_):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed", f"pip install 'tuitrain[{extra}]'")
        self.package, self.extra = package, extra


class DataError(TuitrainError):
    """A source cannot be read and `data.on_error` is `fatal`. The message names file and line."""


class CheckpointError(TuitrainError):
    """A checkpoint is incomplete, corrupt, or belongs to another model."""


class RunError(TuitrainError):
    """A run failed to start, or died."""
