"""`tuitrain schema`: the JSON Schema of a run's configuration, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")] = None,
) -> None:
    """Write the JSON Schema of run configurations (TOML editors complete and check with it)."""
    import json

    from tuitrain.cli.output import show_json
    from tuitrain.config.schema import Config
    from tuitrain.files import write_atomic

    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "tuitrain run",
    }
    if out is None:
        show_json(document)
    else:
        write_atomic(out, json.dumps(document, indent=2) + "\n")
