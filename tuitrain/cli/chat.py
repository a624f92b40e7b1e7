"""`tuitrain chat MODEL`: talk to a run or a model folder. A model without a chat template continues text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tuitrain.runs.generation import Engine, GenerateRequest

COMMANDS = """/base       ask the base without its adapter, or with it again
/system X   set the system prompt; without X: none
/temp X     sampling temperature; 0 is greedy
/max N      longest answer in tokens
/reset      forget the conversation
/help       this
Ctrl-C ends an answer, Ctrl-D leaves."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chat)


def chat(
    model: Annotated[str, typer.Argument(help="A run (id, part of it, `latest`), or a model or adapter folder.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Answer this once and leave.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System prompt.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base without its adapter.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.8,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample from the likeliest tokens of this total probability.")
    ] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from so many likeliest tokens; 0: from all.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
) -> int:
    """Generate with a trained model, streaming. /help inside lists what can be changed; Ctrl-D leaves."""
    import sys

    from tuitrain.cli.diagnostics import say
    from tuitrain.runs.generation import Engine

    folder = _model_dir(model)
    say(f"loading {folder}")
    with Engine(folder) as engine:
        info = engine.info
        kind = "chat, /help for commands" if info["has_chat_template"] else "this is a base model: it continues your text"
        beside = ", adapter on" if info.get("adapter") else ""
        say(f"{info['parameters'] / 1e6:.1f} M parameters{beside}, context {info['context']} tokens; {kind}")
        talk = _Talk(
            has_template=info["has_chat_template"], has_adapter=bool(info.get("adapter")), system=system, base=base,
            sampling={"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed},
        )  # fmt: skip
        if base and not talk.has_adapter:
            say("there is no adapter here: --base changes nothing")
        while True:
            text = prompt if prompt is not None else _read_line(interactive=sys.stdin.isatty())
            if text is None:
                return 0
            if not text.strip():
                continue
            if prompt is None and text.startswith("/"):
                say(talk.command(text))
                continue
            answer = _stream(engine, talk.request(text), echo="" if talk.has_template else text)
            talk.messages.append({"role": "assistant", "content": answer})
            if prompt is not None:
                return 0


@dataclass
class _Talk:
    """A conversation and its settings."""

    has_template: bool
    has_adapter: bool
    system: str | None
    base: bool
    sampling: dict[str, Any]
    messages: list[dict[str, str]] = field(default_factory=list)

    def request(self, text: str) -> GenerateRequest:
        """The conversation with one more turn of the user."""
        from tuitrain.runs.generation import GenerateRequest as NewRequest

        if not self.has_template:
            return NewRequest(prompt=text, adapter=not self.base, **self.sampling)
        self.messages.append({"role": "user", "content": text})
        head = [{"role": "system", "content": self.system}] if self.system else []
        return NewRequest(messages=head + self.messages, adapter=not self.base, **self.sampling)

    def command(self, text: str) -> str:
        """Obey; returns what to say."""
        name, _, value = text[1:].partition(" ")
        try:
            match name:
                case "base" if self.has_adapter:
                    self.base = not self.base
                    return "asking the base alone" if self.base else "asking with the adapter"
                case "base":
                    return "there is no adapter here: what you talk to is all there is"
                case "system":
                    self.system = value.strip() or None
                    return f"system prompt: {self.system or 'none'}"
                case "temp":
                    self.sampling["temperature"] = max(0.0, float(value))
                    return f"temperature {self.sampling['temperature']:g}"
                case "max":
                    self.sampling["max_tokens"] = max(1, int(value))
                    return f"at most {self.sampling['max_tokens']} tokens"
                case "reset":
                    self.messages.clear()
                    return "forgotten"
        except ValueError:
            return f"/{name} needs a number, got {value!r}"
        return COMMANDS


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
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        return path.resolve()
    if path.suffix == ".gguf" or name == "smollm2-135m-instruct":
        from tuitrain.cli.diagnostics import say
        from tuitrain.runs.base_model import find_base

        return find_base(name, say=say).folder
    run = find(name)
    folder = run.model_dir()
    if folder is None:
        raise UsageError(f"{run.run_id} has no checkpoint yet", f"`tuitrain runs save {run.run_id}` makes one")
    return folder
