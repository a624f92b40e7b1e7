"""The pre-tokenizers that GGUF knows by name (`tokenizer.ggml.pre`), as those of the package `tokenizers`.

llama.cpp holds each name's regular expressions in its source (`src/llama-vocab.cpp`) and takes none from a file. So a tokenizer
may only be written under a name that cuts text as it does. That is found by trying: patterns have many spellings, and what
counts is the pieces.
"""

from __future__ import annotations

from typing import Any, Final

from tuitrain.data.extras import load_extra

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DEEPSEEK = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)

PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "llama-bpe": (rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_LINES}",),
    "qwen2": (rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_LINES}",),
    "qwen35": (
        rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "gpt-4o": (rf"{_CASED[0]}{_CONTRACTION}?|{_CASED[1]}{_CONTRACTION}?|\p{{N}}{{1,3}}|{_SLASHED}",),
    "tekken": (rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_SLASHED}",),
    "deepseek-v3": _DEEPSEEK,
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"),
    "seed-coder": (rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",),
    "default": (r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
"""Regular expressions in the order they cut; what none matches stays a piece of its own."""

_ALIASES: Final = {
    "gpt-2": "phi-2 gigachat mellum mpt olmo jais trillion granite-docling exaone4 a.x-4.0 modern-bert",
    "smollm": "starcoder refact command-r codeshell exaone minerva-7b mellum2",
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 chatglm-bpe",
    "qwen2": "stablelm2 hunyuan solar-open deepseek-r1-qwen kormo f2llmv2 megrez grok-2",
    "gpt-4o": "llama4 kanana2 talkie minimax-m2",
    "deepseek-v3": "hunyuan-dense joyai-llm hy_v4",
}
_KNOWN: Final = {alias: name for name, aliases in _ALIASES.items() for alias in [name, *aliases.split()]} | {
    name: name for name in PATTERNS
}
_PROBE = (
    "Hello\n \n\n \t\t \t\n  \n   \n    \r\n\r\n  x =  3\n\tif a_b2==10**3: return  'it''s' # I've you'LL WE'RE he'd 'some\n"
    "HelloWorld fooBAR \u00c9COLE Stra\u00dfe na\u00efve e\u0301te\u0301 \u0928\u092e\u0938\u094d\u0924\u0947"
    " \u6211\u60f3\u5728apple\u5de5\u4f5c1314151\u5929\uff5e \ud55c\uad6d\uc5b4 \u3072\u3089\u30ab\u30bf \uff46\uff55\n"
    "3 33 333 33333 3.3 3..3 \u00bd \u00b2 \u2167 \u0663\u0664\u0665 -----===== ``` '''\"\"\" !!!??? (a)[b]{c} <x/> a/b //\n"
    " path/to\\file.py, $5 ^_~| \U0001f680 (normal) \U0001f636\u200d\U0001f32b\ufe0f \u2705 end.\n\nNew  \n \u00a0\u3000"
    " para_graph __init__ utf_8 x1y2   "
)


def pre_tokenizer(pre: str) -> Any | None:
    """What cuts text before byte-level merges under this name; None for a name not known here."""
    name = _KNOWN.get(pre)
    if name is None:
        return None
    tokenizers = load_extra("tokenizers", "reading a GGUF vocabulary")
    parts, patterns = tokenizers.pre_tokenizers, PATTERNS[name]
    if patterns[-1] == _GPT2:  # the byte-level step has this pattern built in, and published tokenizers say it that way
        digits = [parts.Digits(individual_digits=True)] if name == "smollm" else []
        steps = [*digits, parts.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        splits = [parts.Split(tokenizers.Regex(pattern), "isolated") for pattern in patterns]
        steps = [*splits, parts.ByteLevel(add_prefix_space=False, use_regex=False)]
    return parts.Sequence(steps)


def name_of(cutter: Any) -> str | None:
    """The name under which llama.cpp cuts text as this pre-tokenizer does; None if there is none."""
    pieces = _pieces(cutter)
    return next((name for name in PATTERNS if _pieces(pre_tokenizer(name)) == pieces), None)


def _pieces(cutter: Any) -> list[tuple[str, tuple[int, int]]]:
    return list(cutter.pre_tokenize_str(_PROBE))
