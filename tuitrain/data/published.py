"""Published tiktoken vocabularies by name: gpt2, cl100k_base, o200k_base.

tiktoken keeps them in TIKTOKEN_CACHE_DIR and fetches what is missing from the network. Their split patterns use possessive
quantifiers that other regex engines read differently; the plain form here gives the same tokens (compared on a fixed set of
texts whenever one is loaded) and is what a tokenizer.json gets.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tuitrain.data.bpe import EOS
from tuitrain.data.codec import TiktokenCodec, check_identity, load_huggingface, panics_as_errors
from tuitrain.data.extras import load_extra
from tuitrain.data.tokenizer import Tokenizer
from tuitrain.data.vocabulary import GPT2_PATTERN, InexpressibleError, Vocabulary, to_json
from tuitrain.errors import EnvironmentError_, UsageError

_CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS: Final = {"gpt2": GPT2_PATTERN, "cl100k_base": _CL100K, "o200k_base": _O200K}
_STORED_AS: Final = {"gpt2": ("r50k_base", "gpt2")}
"""r50k_base is GPT-2's vocabulary in one file instead of two."""
_TIMEOUT_S = 20.0


def published_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a published encoding."""
    if name not in PATTERNS:
        raise UsageError(f"no published encoding {name!r}", f"tokenizer.name is one of {', '.join(PATTERNS)}")
    encoding = _load(name)
    vocabulary = Vocabulary(
        pattern=PATTERNS[name], ranks=dict(encoding._mergeable_ranks), special=dict(encoding._special_tokens)
    )
    codec = TiktokenCodec(encoding, "it is a tiktoken encoding")
    return Tokenizer.from_vocabulary(
        vocabulary, codec, name=name, eos=EOS, json_text=lambda: _json_text(name, encoding, vocabulary)
    )


def _load(name: str) -> Any:
    tiktoken = load_extra("tiktoken", f"the tokenizer {name}")
    reason: BaseException | None = None
    for stored in _STORED_AS.get(name, (name,)):
        try:
            with panics_as_errors(), _network_timeout():
                return tiktoken.get_encoding(stored)
        except (OSError, ValueError, RuntimeError) as error:  # no network, no such file, wrong hash
            reason = error
    raise EnvironmentError_(
        f"the vocabulary {name} is not on this machine, and cannot be fetched ({_first_line(reason)})",
        'set TIKTOKEN_CACHE_DIR to a folder that holds it, or learn a vocabulary: tokenizer.kind = "train"',
    ) from reason


def _json_text(name: str, encoding: Any, vocabulary: Vocabulary) -> str:
    """tokenizer.json with the same ids; if they differ on any check text, there is none to give."""
    text = json.dumps(to_json(vocabulary, pattern=PATTERNS[name]), ensure_ascii=False, indent=1)
    try:
        check_identity(encoding, load_huggingface(text), vocabulary.special)
    except InexpressibleError as error:
        raise EnvironmentError_(
            f"the installed tokenizers library reads {name} otherwise than tiktoken ({error})",
            "a tokenizer.json of it would be wrong, so none is written; upgrade tokenizers and tiktoken",
        ) from error
    return text


@contextmanager
def _network_timeout() -> Iterator[None]:
    """tiktoken waits for the network for ever; new sockets get a limit meanwhile."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _first_line(error: BaseException | None) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:200]
