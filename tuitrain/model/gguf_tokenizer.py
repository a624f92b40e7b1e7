"""The tokenizer of a GGUF file, mended where transformers' reader goes its own way, and saved into a model folder.

The reader knows some pre-tokenizers by name and gives GPT-2's to all others (SmolLM's among them), adds tokens its own classes
expect, and goes by class rather than by file for what surrounds a text: its begin token, or the space before its first word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tuitrain.data.extras import load_extra
from tuitrain.errors import CheckpointError
from tuitrain.model.gguf_config import Metadata
from tuitrain.model.gguf_pre import name_of, pre_tokenizer
from tuitrain.model.gguf_vocab import HF_JSON

_ROLES: Final = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
_BOS_UNLESS_TOLD: Final = ("llama3", "llama-v3", "llama-bpe", "falcon3", "tekken", "pixtral", "chameleon")
"""Names under which llama.cpp begins a text with its token when the file does not say."""


def read_tokenizer(source: Path, name: str, staged: Path, data: Metadata) -> list[str]:
    """Save the tokenizer into `staged`; returns what could not be carried over."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizers = load_extra("tokenizers", "reading GGUF")
    notes: list[str] = []
    whole = data.get(HF_JSON)
    if whole:
        backend = tokenizers.Tokenizer.from_str(whole)
    else:
        try:
            backend = AutoTokenizer.from_pretrained(source, gguf_file=name).backend_tokenizer
        except (ValueError, KeyError, NotImplementedError) as error:
            raise CheckpointError(
                f"transformers cannot rebuild the file's tokenizer ({data.get('tokenizer.ggml.model')!r}): {error}",
                "use the model's Hugging Face folder",
            ) from error
        backend = _without_strangers(tokenizers, backend, len(data.get("tokenizer.ggml.tokens") or []))
        _mend_cutting(tokenizers, backend, data, notes)
    special = {role: data.get(f"tokenizer.ggml.{key}_token_id") for role, key in _ROLES.items()}
    named = {role: backend.id_to_token(int(number)) for role, number in special.items() if number is not None}
    backend.post_processor = _post_processor(tokenizers, backend, data, named)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        model_max_length=int(data.of_arch("context_length", 10**30)),
        **{role: token for role, token in named.items() if token is not None},
    )
    tokenizer.chat_template = data.get("tokenizer.chat_template")
    tokenizer.save_pretrained(staged)
    return notes


def _without_strangers(tokenizers: Any, backend: Any, size: int) -> Any:
    """Without the tokens that a class of transformers added because its own models have them."""
    description = json.loads(backend.to_str())
    description["added_tokens"] = [token for token in description["added_tokens"] if token["id"] < size]
    return tokenizers.Tokenizer.from_str(json.dumps(description))


def _mend_cutting(tokenizers: Any, backend: Any, data: Metadata, notes: list[str]) -> None:
    """How a text is made ready for merging, as llama.cpp does it."""
    kind = data.get("tokenizer.ggml.model")
    if kind == "llama":  # SentencePiece: spaces become bars, perhaps one is put first, and nothing is cut
        steps = [tokenizers.normalizers.Replace(" ", "\u2581")]
        if data.get("tokenizer.ggml.add_space_prefix", True):
            steps.insert(0, tokenizers.normalizers.Prepend("\u2581"))
        backend.normalizer = tokenizers.normalizers.Sequence(steps)
        backend.pre_tokenizer = None
    if kind != "gpt2":
        return
    pre = str(data.get("tokenizer.ggml.pre") or "default")
    right = pre_tokenizer(pre)
    if right is None:
        notes.append(f"the pre-tokenizer {pre!r} is not known here; transformers' choice for it may cut text otherwise")
    elif name_of(backend.pre_tokenizer) != name_of(right):
        backend.pre_tokenizer = right


def _post_processor(tokenizers: Any, backend: Any, data: Metadata, named: dict[str, str]) -> Any:
    """What the file says goes around a text: its begin token, its end token, or nothing."""
    sentencepiece = data.get("tokenizer.ggml.model") == "llama"
    usual = sentencepiece or data.get("tokenizer.ggml.pre") in _BOS_UNLESS_TOLD
    around = [
        named.get("bos_token") if data.get("tokenizer.ggml.add_bos_token", usual) else None,
        named.get("eos_token") if data.get("tokenizer.ggml.add_eos_token", False) else None,
    ]
    processors = tokenizers.processors
    if around == [None, None]:
        return None if sentencepiece else processors.ByteLevel(trim_offsets=False)
    before, after = (f"{token} " if token else "" for token in around)
    pattern = f"{before}$A {after}".strip()
    return processors.TemplateProcessing(
        single=pattern,
        pair=f"{pattern} {pattern.replace('$A', '$B')}",
        special_tokens=[(token, backend.token_to_id(token)) for token in dict.fromkeys(around) if token],
    )
