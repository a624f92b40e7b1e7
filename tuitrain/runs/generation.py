"""Generation from a process without torch: the caller's end of an engine worker (`tuitrain.engine.worker`).

Start it, ask, read pieces as they come, stop it. Both ends speak one JSON object per line, over the worker's stdin and stdout:

    -> {"op": "generate", "prompt": str | null, "messages": [...] | null, "max_tokens", "temperature", "top_p", "top_k", "seed",
        "adapter"}
    -> {"op": "stop"}                       end the current generation
    -> {"op": "quit"}
    <- {"kind": "ready", "model", "adapter", "parameters", "context", "has_chat_template", "load_s"}
    <- {"kind": "text", "text"}             a piece, as it is made
    <- {"kind": "done", "tokens", "wall_s", "tokens_per_s", "reason": "end" | "length" | "stopped"}
    <- {"kind": "error", "message", "hint"}
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuitrain.errors import EnvironmentError_, RunError
from tuitrain.runs.launch import require_training_packages
from tuitrain.runs.launch_environment import child_environment


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateRequest:
    """One generation. `prompt` is continued as it stands; `messages` go through the model's chat template."""

    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    max_tokens: int = 256
    temperature: float = 0.8
    """0 is greedy."""
    top_p: float = 0.95
    top_k: int = 0
    """0 considers all tokens."""
    seed: int | None = None
    adapter: bool = True
    """False asks the base without its adapter."""

    def to_dict(self) -> dict[str, Any]:
        """The line to send."""
        return {"op": "generate", **asdict(self)}


class Engine:
    """A model in a child process. Use as a context manager; leaving ends the process."""

    def __init__(self, model_dir: Path, *, threads: int | None = None) -> None:
        require_training_packages()
        arguments = [sys.executable, "-m", "tuitrain.engine.worker", str(model_dir)]
        if threads is not None:
            arguments += ["--threads", str(threads)]
        env = child_environment() | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        # stderr goes nowhere a screen could be spoilt by it; errors that matter come as messages. A session of its own keeps
        # Ctrl-C with the caller; the worker ends when its stdin does.
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=env,
            start_new_session=True,
        )
        self.info: dict[str, Any] = self._expect("ready")

    def generate(self, request: GenerateRequest) -> Iterator[dict[str, Any]]:
        """Messages of one generation: `text` pieces, then `done`. An `error` is raised."""
        self.ask(request)
        while True:
            message = self.read()
            yield message
            if message["kind"] == "done":
                return

    def ask(self, request: GenerateRequest) -> None:
        """Begin a generation; `read` its messages until `done`. For callers that an interrupt must not throw off."""
        self._send(request.to_dict())

    def stop(self) -> None:
        """Ask the current generation to end; its `done` still comes."""
        self._send({"op": "stop"})

    def close(self) -> None:
        """End the worker."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next message of the worker."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RunError(
                f"the generation worker ended with code {self._process.wait()}",
                "too little memory for the model is the usual cause",
            )
        message: dict[str, Any] = json.loads(line)
        if message["kind"] == "error":
            raise EnvironmentError_(message["message"], message.get("hint", ""))
        return message

    def _expect(self, kind: str) -> dict[str, Any]:
        try:
            message = self.read()
        except BaseException:
            self.close()
            raise
        assert message["kind"] == kind, f"the worker said {message['kind']!r}, not {kind!r}"
        return message
