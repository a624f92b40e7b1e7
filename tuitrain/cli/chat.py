"""`tuitrain chat MODEL`: talk to a run or a model folder. A model without a chat template continues text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuitrain.runs.generation import Engine, GenerateRequest


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chat)


def chat(
    model: Annotated[str, typer.Argument(help="A run (id, part of it, `latest`) or a Hugging Face model folder.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Answer this once and leave.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.8,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample from the likeliest tokens of this total probability.")
    ] = 0.95,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
) -> int:
    """Generate with a trained model, streaming. Ctrl-C ends an answer, Ctrl-D leaves."""
    import sys

    from tuitrain.cli.diagnostics import say
    from tuitrain.runs.generation import Engine, GenerateRequest

    folder = _model_dir(model)
    say(f"loading {folder}")
    with Engine(folder) as engine:
        info = engine.info
        kind = "chat" if info["has_chat_template"] else "this is a base model: it continues your text"
        say(f"{info['parameters'] / 1e6:.1f} M parameters, context {info['context']} tokens; {kind}")
        messages: list[dict[str, str]] = []
        while True:
            text = prompt if prompt is not None else _read_line(interactive=sys.stdin.isatty())
            if text is None:
                return 0
            if not text.strip():
                continue
            asked = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
            if info["has_chat_template"]:
                messages.append({"role": "user", "content": text})
                request = GenerateRequest(messages=messages, **asked)  # type: ignore[arg-type]
            else:
                request = GenerateRequest(prompt=text, **asked)  # type: ignore[arg-type]
            answer = _stream(engine, request, echo="" if info["has_chat_template"] else text)
            messages.append({"role": "assistant", "content": answer})
            if prompt is not None:
                return 0


def _stream(engine: Engine, request: GenerateRequest, *, echo: str) -> str:
    import sys

    from tuitrain.cli.diagnostics import say
    from tuitrain.text import clean

    sys.stdout.write(clean(echo))
    pieces: list[str] = []
    engine.ask(request)
    message = {"kind": ""}
    while message["kind"] != "done":
        try:
            message = engine.read()
        except KeyboardInterrupt:
            engine.stop()
            continue
        if message["kind"] == "text":
            pieces.append(message["text"])
            sys.stdout.write(clean(message["text"]))
            sys.stdout.flush()
        elif message["kind"] == "done":
            sys.stdout.write("\n")
            sys.stdout.flush()
            say(f"[{message['tokens']} tokens, {message['tokens_per_s']:.1f} tokens/s, {message['reason']}]")
    return "".join(pieces)


def _read_line(*, interactive: bool) -> str | None:
    import sys

    if interactive:
        sys.stderr.write("> ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def _model_dir(name: str) -> Path:
    from tuitrain.cli.context import find
    from tuitrain.errors import UsageError

    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path.resolve()
    run = find(name)
    folder = run.model_dir()
    if folder is None:
        raise UsageError(f"{run.run_id} has no checkpoint yet", f"`tuitrain runs save {run.run_id}` makes one")
    return folder
