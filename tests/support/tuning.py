"""Real chat families in miniature: their special tokens and templates around a vocabulary of some 600 entries that is learnt
here, and 2-layer models of their architectures. Everything is built once per process and lies in one temporary folder.

Templates come from the installed trl (`trl/chat_templates`), except those it has none of, which are written out below.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import re
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
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        + digits
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
    tokenizer.normalizer = underscores if pieces == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), underscores])
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
    if "<unk>" in family.special:
        named["unk_token"] = "<unk>"
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


def trl_names() -> list[str]:
    """All chat templates of trl; none where it is not installed."""
    if importlib.util.find_spec("trl") is None:
        return []
    return sorted(file.stem for file in trl_folder().glob("*.jinja"))


MARKERS = re.compile(
    r"<\|[^|<>\s'\"+]+\|>|<\uff5c[^\uff5c<>\s'\"+]+\uff5c>|<(?:start|end)_of_turn>|<end_of_utterance>"
    r"|<\|(?:turn|channel)>|<(?:turn|channel)\|>|\[gMASK\]|<sop>"
)
"""What in a template looks like a special token."""
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def everything() -> Family:
    """A family whose special tokens are those of all of trl's templates; give it any of them."""
    if "everything" not in FAMILIES:
        sources = "".join(re.sub(r"\{#.*?#\}", "", trl_template(name), flags=re.DOTALL) for name in trl_names())
        found = sorted(set(MARKERS.findall(sources)))
        FAMILIES["everything"] = Family(
            name="everything", template="{{ bos_token }}", special=(*SPECIAL.values(), *found), plain=("<think>", "</think>"),
            bos="<bos>", eos="<eos>", pad="<pad>", pieces="qwen",
            ends=("<eos>", *filter(re.compile(r"im_end|eot|[|]end[|]|return|end.of|END_OF|turn[|]").search, found)),
        )  # fmt: skip
    return FAMILIES["everything"]


VOCAB = 640
_LLAMA = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.15,
}  # fmt: skip
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA | {"head_dim": 16, "tie_word_embeddings": True},
    "gemma2": _LLAMA | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8, "final_logit_softcapping": 3.0},
    "gemma3_text": _LLAMA | {
        "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "mistral": _LLAMA | {"sliding_window": 8},
    "phi3": _LLAMA | {"pad_token_id": 0, "sliding_window": 8},
    "phi": _LLAMA | {"num_key_value_heads": 4},
    "gpt2": {"vocab_size": VOCAB, "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 256, "initializer_range": 0.15,
             "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "mixtral": _LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": _LLAMA | _MOE | {"shared_expert_intermediate_size": 64},
    "qwen3_moe": _LLAMA | _MOE | {"head_dim": 16},
    "cohere": _LLAMA | {"logit_scale": 0.25},
}  # fmt: skip
"""Settings of a small model of each; every one with its own trait: soft caps, sliding windows, a head with a bias, experts."""


def tiny_lm(architecture: str, **settings: Any) -> Any:
    """A random causal model of transformers; always the same one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture] | {"use_cache": False} | settings)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():  # biases and gains that matter
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
    model.name_or_path = "base"
    return model


@functools.cache
def base_folder(architecture: str = "llama", family: str = "qwen2.5", template: str | None = None) -> Path:
    """A model of that architecture with a family's tokenizer, as from the hub. Read only."""
    folder = _folder() / f"base-{len(list(_folder().iterdir()))}"
    tiny_lm(architecture).save_pretrained(folder)
    return write_tokenizer(folder, FAMILIES[family], template)


def chats(count: int = 24) -> list[dict[str, Any]]:
    """Conversations with answers of unequal length, no two questions alike."""
    numbers = ("none", "one", "two", "three", "four", "five", "six")
    return [
        {
            "messages": turns(
                ("user", f"What is {row} and {row % 7}?"),
                ("assistant", f"It is {row + row % 7}" + ", of course" * (row % 4) + f", {numbers[row % 7]} more than {row}."),
            )
        }
        for row in range(count)
    ]


def pairs(count: int = 24) -> list[dict[str, Any]]:
    """Two answers to each question, the better one first."""
    return [
        {
            "prompt": turns(("user", f"What is {row} and {row}?")),
            "chosen": turns(("assistant", f"It is {2 * row}.")),
            "rejected": turns(("assistant", "No idea, " * (1 + row % 3) + f"ask about {row} elsewhere.")),
        }
        for row in range(count)
    ]


def tuning_run(tmp_path: Path, base: Path, rows: Sequence[Mapping[str, Any]], *overrides: str) -> Any:
    """A prepared fine-tuning run of a small base that nobody has started: `support.attempts.attempt` does."""
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.launch import prepare_run
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.store import RunStore

    data = write_rows(tmp_path / "rows.jsonl", rows)
    config = load_config(None, [
        "run.name=tuned", "run.stage=sft", "run.threads=1", f"model.base={base}", f'data.sources=[{{path="{data}"}}]',
        "data.validation_frac=0.2", "train.seq_len=128", "train.precision=fp32", "train.batch_sequences=4", "train.steps=6",
        "method.rank=4", "optim.lr=0.003", "eval.sample_tokens=0", "eval.every_steps=0", "checkpoint.every_steps=0", *overrides,
    ])  # fmt: skip
    machine = this_machine()
    return prepare_run(resolve(config, machine), config, RunStore(tmp_path / "runs"), machine, plan=None, command="test")
