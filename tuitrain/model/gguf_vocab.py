"""The vocabulary of a GGUF file, from the tokenizer.json of a model folder.

llama.cpp knows two kinds that matter here: byte-level BPE (`gpt2`: tokens, merges, and a pre-tokenizer by name) and
SentencePiece-like BPE with byte fallback (`llama`: tokens and scores; the best-scoring neighbours merge first). A SentencePiece
file's scores are not in tokenizer.json, but its merges are in their order, so the scores are counted from them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuitrain.data.extras import load_extra
from tuitrain.errors import CheckpointError
from tuitrain.model.gguf_pre import name_of
from tuitrain.model.gguf_special import read_special

if TYPE_CHECKING:
    import gguf

HF_JSON: Final = "tokenizer.huggingface.json"
"""The GGUF specification's key for a whole tokenizer.json."""
_NO_PRE: Final = "default"
"""llama.cpp's name for a vocabulary it knows nothing about."""
_BAR = "\u2581"  # what SentencePiece writes for a space
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_SPECIAL_SCORE, _PAD_SCORE = -1000.0, -10000.0  # what llama.cpp's converter gives them; neither ever takes part in a merge
_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<\uff5c.*\uff5c>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL)


@dataclass(kw_only=True, slots=True)
class Vocabulary:
    """What goes under `tokenizer.*`."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float] | None = None
    ids: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool | None = None
    chat_template: str | None = None
    whole_json: str | None = None
    notes: list[str] = field(default_factory=list)

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        """Write every key."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_token_merges(self.merges)
        for role, number in self.ids.items():
            getattr(writer, f"add_{role}_token_id")(number)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)
        if self.whole_json:
            writer.add_string(HF_JSON, self.whole_json)


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The vocabulary of a folder, filled up to the `rows` of its embedding with tokens that stand for nothing."""
    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder.name} has no readable tokenizer.json ({error})",
            "a GGUF file holds its tokenizer: save one into the folder",
        ) from error
    tokenizer = load_extra("tokenizers", "writing GGUF").Tokenizer.from_str(text)
    decoder = json.dumps(data.get("decoder"))
    if data["model"]["type"] != "BPE" or not ('"ByteLevel"' in decoder or r"\u2581" in decoder):
        raise CheckpointError(
            f"{folder.name} has a {data['model']['type']} tokenizer; byte-level and SentencePiece-like BPE can be written",
            "use llama.cpp's convert_hf_to_gguf.py",
        )
    merges = [(tuple(m.split(" ")) if isinstance(m, str) else tuple(m)) for m in data["model"]["merges"]]
    byte_level = '"ByteLevel"' in decoder
    vocabulary = _tokens(data, merges, rows, byte_level=byte_level, where=folder.name)
    if byte_level:
        _name_pre_tokenizer(vocabulary, tokenizer, text)
    else:
        vocabulary.add_space_prefix = _prepared(tokenizer, "a").startswith(_BAR)
        if vocabulary.add_space_prefix and not _prepared(tokenizer, " a").startswith(_BAR * 2):
            vocabulary.notes.append(
                "llama.cpp puts a space before a text that begins with one already; this tokenizer does not"
            )
        if not _is_sentencepiece(set(data["model"]["vocab"]), merges):
            vocabulary.notes.append("the vocabulary lists other merges than its tokens imply; llama.cpp may merge otherwise")
    special = read_special(folder, tokenizer, rows)
    vocabulary.ids, vocabulary.chat_template = special.ids, special.chat_template
    vocabulary.add_bos, vocabulary.add_eos = special.add_bos, special.add_eos
    return vocabulary


def _tokens(data: dict[str, Any], merges: list[tuple[str, ...]], rows: int, *, byte_level: bool, where: str) -> Vocabulary:
    known = {int(number): token for token, number in data["model"]["vocab"].items()}
    added = {int(entry["id"]): entry for entry in data.get("added_tokens", [])}
    size = 1 + max([*known, *added])
    if size > rows:
        raise CheckpointError(f"{where} has {size:,} tokens and {rows:,} rows of embedding", "the tokenizer is another model's")
    made_at: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        made_at.setdefault("".join(pair), rank)
    tokens, types, scores = [], [], []
    for number in range(rows):
        token, kind, score = known.get(number), _NORMAL, 0.0
        if number in added:
            token, score = added[number]["content"], _SPECIAL_SCORE
            kind = _CONTROL if added[number]["special"] or _LOOKS_SPECIAL.fullmatch(token) else _USER_DEFINED
            if kind == _USER_DEFINED and not byte_level:
                token = token.replace(_BAR, " ")  # llama.cpp looks these up in the text as it was typed
        elif token is None:
            token, kind, score = f"[PAD{number}]", _UNUSED, _PAD_SCORE
        elif not byte_level and re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            kind = _BYTE
        else:
            score = -float(made_at.get(token, len(merges) + number))
        if not byte_level and token == data["model"].get("unk_token"):
            kind = _UNKNOWN
        tokens.append(token)
        types.append(kind)
        scores.append(score)
    if len(set(tokens)) < rows:
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise CheckpointError(f"{where} has the token {twice!r} twice; llama.cpp refuses such a vocabulary")
    return Vocabulary(
        model="gpt2" if byte_level else "llama",
        pre=_NO_PRE,
        tokens=tokens,
        types=types,
        scores=None if byte_level else scores,
        merges=[" ".join(pair) for pair in merges],  # llama.cpp reads no merges of the second kind, transformers does
    )


def _name_pre_tokenizer(vocabulary: Vocabulary, tokenizer: Any, text: str) -> None:
    name = name_of(tokenizer.pre_tokenizer)
    if name is None:
        vocabulary.whole_json = text  # so that at least we read our own file back without loss
        vocabulary.notes.append(
            f"llama.cpp has no pre-tokenizer that cuts text as this tokenizer does: the file says {_NO_PRE!r}, and its ids"
            " will differ from those of training around signs, digits and white space"
        )
    vocabulary.pre = name or _NO_PRE


def _prepared(tokenizer: Any, text: str) -> str:
    """The first piece of a text before merging: some files put a space before it with a normaliser, others while cutting."""
    text = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    return str(tokenizer.pre_tokenizer.pre_tokenize_str(text)[0][0]) if tokenizer.pre_tokenizer else text


def _is_sentencepiece(vocab: set[str], merges: list[tuple[str, ...]]) -> bool:
    """Whether the merges are all that the tokens allow, as those made from a SentencePiece model are."""
    splits = sum(
        piece[:at] in vocab and piece[at:] in vocab
        for piece in {"".join(pair) for pair in merges}
        for at in range(1, len(piece))
    )
    return splits == len(set(merges))
