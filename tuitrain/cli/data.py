"""`tuitrain data ...`: prepare token shards ahead of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(help="Prepare and inspect training data.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    from tuitrain.cli.data_inspect import inspect

    group.command("inspect")(inspect)
    app.add_typer(group, name="data")


@group.command("prepare")
def prepare(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration (TOML). Without one, the embedded corpus.", show_default=False)
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> int:
    """Tokenize the data of a configuration into the cache; training then starts at once. Safe to interrupt and repeat."""
    import sys

    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_json
    from tuitrain.cli.progress import Bar
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.data import prepare as prepare_data
    from tuitrain.runs.home import cache_dir
    from tuitrain.runs.machine import this_machine

    wanted = list(overrides or [])
    if config is not None and "=" in str(config):
        wanted, config = [str(config), *wanted], None
    settings = resolve(load_config(config, wanted), this_machine()).config
    vocab_size = settings.tokenizer.vocab_size
    with Bar(sys.stderr) as bar:
        data = prepare_data(
            settings.data,
            settings.tokenizer,
            vocab_size=vocab_size if isinstance(vocab_size, int) else None,
            cache_dir=cache_dir(),
            threads=int(settings.run.threads),
            progress=lambda now: bar.update(f"{now.phase} {now.detail}", now.done_frac),
        )
    facts = {
        "tokenizer": {"vocab_size": data.tokenizer.vocab_size, "hash": data.tokenizer.content_hash},
        "train": {"tokens": data.train_tokens, "bytes": data.train_bytes, "documents": data.train_documents},
        "validation": {
            "tokens": data.validation_tokens,
            "bytes": data.validation_bytes,
            "documents": data.validation_documents,
        },
        "bytes_per_token": data.bytes_per_token,
        "content_hash": data.content_hash,
    }
    if as_json:
        show_json(facts)
        return 0
    for side in ("train", "validation"):
        counts = facts[side]
        show(f"{side:<11} {counts['tokens']:>12,} tokens  {counts['bytes']:>13,} bytes  {counts['documents']:>9,} documents")  # type: ignore[index]
    show(f"vocabulary  {data.tokenizer.vocab_size:>12,}          {data.bytes_per_token:>13.3f} bytes per token")
    if data.report.total:
        say(f"{data.report.total} rows could not be read; the first:")
        for row in data.report.named[:10]:
            say(f"  {row.where}: {row.problem}")
    return 0
