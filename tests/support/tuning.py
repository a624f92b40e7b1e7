"""Real chat families in miniature: their special tokens and templates around a vocabulary of some 600 entries that is learnt
here, and 2-layer models of their architectures. Everything is built once per process and lies in one temporary folder.

Templates come from the installed trl (`trl/chat_templates`), except those it has none of, which are written out below.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CORPUS = (
    "The capital of France is Paris, and two and two are four. Please answer in one short sentence! ",
    "What is the name of the river that flows through the city? It is called the Seine; it rises in Burgundy.\n",
    "def add(first, second):\n    return first + second\n\nprint(add(17, 25))  # 42\n",
    "user assistant system tool model question answer prompt completion chosen rejected\n\n",
    "Grüße aus Zürich, voilà l'été, déjà vu. Быстрая лиса. 快速的狐狸。 1234567890 !?.,:;()[]{}<>|/\\\"'`~@#$%^&*-_=+\n",
)
VOCABULARY = 600
_WORDS = {
    name: (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    for name, digits in (("llama3", "{1,3}"), ("qwen", ""))
}
"""How byte-level families cut text into words before pairs are merged (their tokenizer.json)."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a family's tokenizer and template are like."""

    name: str
    template: str
    """Name of a file of trl, or the template itself."""
    training: str | None = None
    """trl's template with generation marks."""
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    """Added tokens that are not special (Qwen3's thoughts)."""
    rstrip: tuple[str, ...] = ()
    """Special tokens that swallow the white space behind them (Phi-3)."""
    bos: str | None
    eos: str
    pad: str | None = None
    ends: tuple[str, ...]
    """Where generation stops."""
    pieces: str = "gpt2"
    """gpt2, llama3, qwen: byte-level BPE, words cut as each cuts them. gemma, llama: BPE on text whose spaces are written as
    U+2581, with a byte for what is unknown; llama also puts one before every text."""
    system: bool = True
    """Whether it takes a system turn."""

    @property
    def source(self) -> str:
        """The original template."""
        return self.template if "{" in self.template else trl_template(self.template)

    @property
    def training_source(self) -> str:
        """trl's template with marks."""
        assert self.training is not None, f"trl has none for {self.name}"
        return trl_template(self.training)


SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PHI3 = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
_COHERE = (
    "<PAD>", "<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
)  # fmt: skip
FAMILIES = {
    each.name: each
    for each in (
        Family(
            name="llama3", template="llama3", training="llama3_training", bos="<|begin_of_text|>", eos="<|eot_id|>",
            special=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            ends=("<|end_of_text|>", "<|eot_id|>"), pieces="llama3",
        ),
        Family(
            name="qwen2.5", template="qwen2_5", training="qwen2_5_training", special=_IM, bos=None, eos="<|im_end|>",
            pad="<|endoftext|>", ends=("<|endoftext|>", "<|im_end|>"), pieces="qwen",
        ),
        Family(
            name="qwen3", template="qwen3", training="qwen3_training", special=_IM, plain=("<think>", "</think>"), bos=None,
            eos="<|im_end|>", pad="<|endoftext|>", ends=("<|endoftext|>", "<|im_end|>"), pieces="qwen",
        ),
        Family(
            name="qwen3-2507", template="qwen3_instruct_2507", training="qwen3_instruct_2507_training", special=_IM,
            plain=("<think>", "</think>"), bos=None, eos="<|im_end|>", pad="<|endoftext|>",
            ends=("<|endoftext|>", "<|im_end|>"), pieces="qwen",
        ),
        Family(
            name="gemma", template="gemma", training="gemma_training", special=_GEMMA, bos="<bos>", eos="<eos>", pad="<pad>",
            ends=("<eos>", "<end_of_turn>"), pieces="gemma", system=False,
        ),
        Family(
            name="gemma3", template="gemma3", training="gemma3_training", special=_GEMMA, bos="<bos>", eos="<eos>",
            pad="<pad>", ends=("<eos>", "<end_of_turn>"), pieces="gemma",
        ),
        Family(
            name="phi3", template="phi3", training="phi3_training", special=_PHI3, rstrip=_PHI3[1:], bos=None,
            eos="<|endoftext|>", pad="<|endoftext|>", ends=("<|endoftext|>", "<|end|>"), pieces="llama",
        ),
        Family(
            name="phi3.5", template="phi3_5", training="phi3_5_training", special=_PHI3, bos=None, eos="<|endoftext|>",
            ends=("<|endoftext|>", "<|end|>"), pieces="llama",
        ),
        Family(
            name="cohere", template="cohere", training="cohere_training", special=_COHERE, bos="<BOS_TOKEN>",
            eos="<|END_OF_TURN_TOKEN|>", pad="<PAD>", ends=("<|END_OF_TURN_TOKEN|>",),
        ),
        Family(name="smollm2", template=SMOLLM2, special=_IM, bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>",
               ends=("<|im_end|>",)),
        Family(name="zephyr", template=ZEPHYR, special=("<s>", "</s>"), bos="<s>", eos="</s>", pad="</s>", ends=("</s>",),
               pieces="llama"),
        Family(name="mistral", template=MISTRAL, special=("<s>", "</s>"), bos="<s>", eos="</s>", ends=("</s>",),
               pieces="llama", system=False),
    )
}  # fmt: skip
"""Beginning-of-text tokens that the tokenizer itself puts before a text are those of the family, if it has one."""


@functools.cache
def _folder() -> Path:
    """One temporary folder for the process."""
    path = Path(tempfile.mkdtemp(prefix="tuitrain-tuning-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def trl_folder() -> Path:
    """Where trl keeps its chat templates. Found without importing it (that takes seconds); the test is skipped without it."""
    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl, whose chat templates are compared with, is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "chat_templates"


def trl_template(name: str) -> str:
    """A chat template of trl by name."""
    return (trl_folder() / f"{name}.jinja").read_text(encoding="utf-8")


@functools.cache
def learnt(pieces: str) -> str:
    """tokenizer.json of a vocabulary of one kind, learnt from CORPUS, without special tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if pieces in _WORDS or pieces == "gpt2":
        tokenizer = Tokenizer(models.BPE())
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pieces == "gpt2")
        tokenizer.pre_tokenizer = (
            level
            if pieces == "gpt2"
            else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_WORDS[pieces]), behavior="isolated"), level])
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(CORPUS * 4, trainer)
        return tokenizer.to_str()
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    learner.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(vocab_size=VOCABULARY - 257, show_progress=False))
    raw = json.loads(learner.to_str())["model"]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *raw["vocab"]]
    merges = [tuple(each) for each in raw["merges"]]
    vocab = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    underscores = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = (
        underscores if pieces == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), underscores])
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps if pieces == "gemma" else [*steps, decoders.Strip(" ", 1, 0)])
    return tokenizer.to_str()


def write_tokenizer(folder: Path, family: Family, template: str | None = None) -> Path:
    """tokenizer.json, its configuration and the template into a folder; config.json and generation_config.json unless they
    are there."""
    from tokenizers import AddedToken, Tokenizer, processors

    tokenizer = Tokenizer.from_str(learnt(family.pieces))
    tokenizer.add_special_tokens(
        [AddedToken(each, special=True, normalized=False, rstrip=each in family.rstrip) for each in family.special]
    )
    tokenizer.add_tokens([AddedToken(each, special=False, normalized=False) for each in family.plain])
    if family.bos is not None and family.name != "smollm2":
        number = tokenizer.token_to_id(family.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", pair=f"{family.bos} $A {family.bos} $B", special_tokens=[(family.bos, number)]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": family.bos, "eos_token": family.eos, "pad_token": family.pad}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **named}
    write(folder / "tokenizer_config.json", settings)
    ends = [tokenizer.token_to_id(each) for each in family.ends]
    write(folder / "generation_config.json", {"eos_token_id": ends})
    if not (folder / "config.json").is_file():
        write(folder / "config.json", {"model_type": "llama", "vocab_size": tokenizer.get_vocab_size()})
    (folder / "chat_template.jinja").write_text(family.source if template is None else template, encoding="utf-8")
    return folder


def write(path: Path, value: object) -> Path:
    """JSON."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@functools.cache
def tokenizer_folder(name: str, template: str | None = None) -> Path:
    """A folder with a family's tokenizer and its template, or with another one. Read only."""
    return write_tokenizer(_folder() / f"tokenizer-{len(list(_folder().iterdir()))}", FAMILIES[name], template)


@functools.cache
def encoder_of(name: str, template: str | None = None) -> Any:
    """Our ChatEncoder of a family."""
    from tuitrain.data.chat.encoder import ChatEncoder

    return ChatEncoder(tokenizer_folder(name, template))


@functools.cache
def transformers_tokenizer(name: str, template: str | None = None) -> Any:
    """transformers' tokenizer of the same folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder(name, template))


def turns(*said: tuple[str, str]) -> list[dict[str, str]]:
    """("user", "a"), ... as templates want it."""
    return [{"role": role, "content": content} for role, content in said]
