"""A group that is a command too: `plan llama-3-8b` beside `plan validate FILE.csv`."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import typer.core

DEFAULT_COMMAND: Final = "run"
"""Key of the command that is meant when no other is named. It is never shown."""


class DefaultCommand(typer.core.TyperGroup):
    """Hands everything that does not start with a sub-command's name to the default command."""

    optional_values: ClassVar[dict[str, str]] = {"--explain": "all"}
    """Options whose value may be left out, and what is meant then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's key in front, unless another is meant."""
        args = [each for index, arg in enumerate(args) for each in (arg, *self._left_out(args, index))]
        named = bool(args) and args[0] in self.commands and args[0] != DEFAULT_COMMAND
        return super().parse_args(ctx, args if named else [DEFAULT_COMMAND, *args])

    def _left_out(self, args: list[str], index: int) -> tuple[str, ...]:
        """The value of an option that stands without one: at the end, or before another option."""
        meant = self.optional_values.get(args[index])
        alone = index + 1 == len(args) or args[index + 1].startswith("--")
        return (meant,) if meant is not None and alone else ()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The default command goes by the group's own name in usage lines."""
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == DEFAULT_COMMAND else name), command, rest
