"""The ways to write a conversation down that a Modelfile can be written for: as text, and as the Go template Ollama runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CONTENT = "{content}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How each turn is written, `{content}` and `{eos}` standing for themselves, and what invites the model to answer."""

    name: str
    user: str
    assistant: str
    system: str | None
    """None where the system message goes into a user turn, above its text with a line between."""
    prompt: str = ""
    stops: tuple[str, ...]

    def text(self, turns: Sequence[tuple[str, str]], eos: str) -> str:
        """The conversation up to where the model answers."""
        forms = {"user": self.user, "assistant": self.assistant, "system": self.system or ""}
        return "".join(forms[role].replace("{eos}", eos).replace(CONTENT, content) for role, content in turns) + self.prompt

    def go(self, eos: str, begin: str, *, system_last: bool) -> str:
        """The same as a Go template over Ollama's .Messages, `begin` first.

        A system message without a turn of its own goes into the first user turn, or into the last.
        """
        user = self.user
        if self.system is None:
            where = "(eq (len (slice $.Messages $i)) 1)" if system_last else "(eq $i 1)"
            user = user.replace(CONTENT, f"{{{{ if and $.System {where} }}}}{{{{ $.System }}}}\n\n{{{{ end }}}}{CONTENT}")
        cases = {"user": user, "assistant": self.assistant} | ({} if self.system is None else {"system": self.system})
        turns = " else ".join(f'if eq .Role "{role}" }}}}{form}{{{{' for role, form in cases.items())
        turns = f"{{{{ {turns} end }}}}".replace(CONTENT, "{{ .Content }}").replace("{eos}", eos)
        return f"{begin}{{{{ range $i, $_ := .Messages }}}}{turns}{{{{ end }}}}{self.prompt}"


def _headed(name: str, turn: str, prompt: str, stops: tuple[str, ...]) -> Format:
    """A format that writes every role in the same way."""
    user, assistant, system = (turn.replace("{role}", role) for role in ("user", "assistant", "system"))
    return Format(name=name, user=user, assistant=assistant, system=system, prompt=prompt, stops=stops)


def _mistral(name: str, after: str, answer: str) -> Format:
    stops = ("[INST]", "[/INST]")
    return Format(name=name, user=f"[INST] {CONTENT}{after}", assistant=answer, system=None, stops=stops)


FORMATS: Final = (
    _headed(
        "ChatML",
        "<|im_start|>{role}\n{content}<|im_end|>\n",
        "<|im_start|>assistant\n",
        ("<|im_start|>", "<|im_end|>"),
    ),
    _headed(
        "Llama 3",
        "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    Format(
        name="Gemma",
        user="<start_of_turn>user\n{content}<end_of_turn>\n",
        assistant="<start_of_turn>model\n{content}<end_of_turn>\n",
        system=None,
        prompt="<start_of_turn>model\n",
        stops=("<start_of_turn>", "<end_of_turn>"),
    ),
    _mistral("Mistral 7B 0.1", " [/INST]", "{content}{eos} "),
    _mistral("Mistral 7B 0.2", " [/INST]", "{content}{eos}"),
    _mistral("Mistral 7B 0.2", " [/INST]", " {content}{eos}"),
    _mistral("Mistral 7B 0.3", "[/INST]", " {content}{eos}"),
    _headed(
        "Phi 3", "<|{role}|>\n{content}<|end|>\n", "<|assistant|>\n", ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
    ),
    _headed("Zephyr", "<|{role}|>\n{content}{eos}\n", "<|assistant|>\n", ("<|user|>", "<|assistant|>", "<|system|>", "{eos}")),
)
