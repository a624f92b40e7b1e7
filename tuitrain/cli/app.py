"""The command tree. Only Typer is imported here; each command imports what it needs when it runs (Typer alone: 0.1-0.2 s)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuitrain.cli import chat, data, demo, doctor, export, plan, runs, schema, tokenizer, train

app = typer.Typer(
    name="tuitrain",
    help="Plan, launch, watch and resume language-model training. Without a command: the terminal interface.",
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    context: typer.Context,
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs. Default: $TUITRAIN_HOME/runs.")] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw the interface with ASCII characters only.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Options of every command."""
    import os

    if version:
        from tuitrain import __version__
        from tuitrain.cli.output import show

        show(f"tuitrain {__version__}")
        raise typer.Exit
    if ascii_only:
        os.environ["TUITRAIN_ASCII"] = "1"
    if runs_dir is not None:
        os.environ["TUITRAIN_RUNS_DIR"] = str(runs_dir.expanduser().resolve())
    if context.invoked_subcommand is None:
        from tuitrain.cli.interface import open_interface

        raise typer.Exit(open_interface())


for module in (demo, plan, train, runs, data, tokenizer, chat, export, doctor, schema):
    module.register(app)
