"""What client and worker say to each other: one JSON object per line, over the worker's stdin and stdout.

    -> {"op": "generate", "prompt": str | null, "messages": [...] | null, "max_tokens", "temperature", "top_p", "top_k", "seed"}
    -> {"op": "stop"}                       end the current generation
    -> {"op": "quit"}
    <- {"kind": "ready", "model", "parameters", "context", "has_chat_template", "load_s"}
    <- {"kind": "text", "text"}             a piece, as it is made
    <- {"kind": "done", "tokens", "wall_s", "tokens_per_s", "reason": "end" | "length" | "stopped"}
    <- {"kind": "error", "message", "hint"}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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

    def to_dict(self) -> dict[str, Any]:
        """The line to send."""
        return {"op": "generate", **asdict(self)}
