"""`tuitrain tokenizer train`: learn a byte-level BPE and write a tokenizer folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(help="Train tokenizers.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="tokenizer")


@group.command("train")
def train(
    out: Annotated[Path, typer.Argument(help="Folder to write tokenizer.json and its companions into.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration whose data to learn from. Default: the embedded corpus.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(min=257, help="Entries, special tokens included.")] = 4096,
) -> int:
    """Learn a byte-level BPE from the training side of the data. Loads in transformers, tokenizers and tiktoken with the
    same ids."""
    import sys

    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show
    from tuitrain.cli.progress import Bar
    from tuitrain.config.load import load_config
    from tuitrain.data import prepare as prepare_data
    from tuitrain.runs.home import cache_dir
    from tuitrain.runs.machine import this_machine

    settings = load_config(config, ["tokenizer.kind=train", f"tokenizer.vocab_size={vocab_size}"])
    with Bar(sys.stderr) as bar:
        data = prepare_data(
            settings.data,
            settings.tokenizer,
            vocab_size=vocab_size,
            cache_dir=cache_dir(),
            threads=this_machine().physical_cores,
            progress=lambda now: bar.update(f"{now.phase} {now.detail}", now.done_frac),
        )
    out.mkdir(parents=True, exist_ok=True)
    data.tokenizer.save(out)
    say(f"{data.tokenizer.vocab_size} entries, {data.bytes_per_token:.3f} bytes per token on its own data")
    show(str(out))
    return 0
