"""Bytes per token of one layer, against what autograd keeps in each framework, term by term.

Measured on torch 2.13 by counting saved tensors per storage: transformers 5.23 with peft 0.21, litgpt 0.5.13, torchtune 0.6.1.
Dropout's masks are one byte per entry, as on CUDA. `norms` stands for the 4 bytes of statistics each norm keeps.
"""

from dataclasses import replace

import pytest

from tuitrain_planners import Adapter, ModelShape, by_depth, framework, recipe
from tuitrain_planners.memory.layer import Layer, Work

EVERY, SOME, RANK = ("q", "k", "v", "o", "gate", "up", "down"), ("q", "v"), 16
SIZES = {"hidden_size": 96, "num_heads": 6, "num_kv_heads": 2, "head_dim": 18, "ffn_size": 272}
LLAMA_3 = {"hidden_size": 4096, "num_heads": 32, "num_kv_heads": 8, "head_dim": 128, "ffn_size": 14336}
SEQ_LEN = 64


def shape(architecture: str, **sizes: int) -> ModelShape:
    return replace(by_depth(2, 512, architecture), **{**SIZES, **sizes})


def layer(
    of: ModelShape, software: str, adapter: Adapter | None = None, *, precision: str = "bf16-pure", naive: bool = False
) -> float:
    work = Work(tokens=1, seq_len=SEQ_LEN, naive=naive)
    return Layer(of, work, recipe(precision), framework(software), adapter).all().value


def lora(targets: tuple[str, ...], *, weight_bytes: int = 2, **more: bool | str) -> Adapter:
    return Adapter(rank=RANK, targets=targets, weight_bytes=weight_bytes, **more)  # type: ignore[arg-type]


def measured(terms: str, of: ModelShape) -> int:
    """The table's term list with the shape's sizes put in."""
    names = {"h": of.hidden_size, "a": of.num_heads, "k": of.num_kv_heads, "d": of.head_dim, "f": of.ffn_size}
    names |= {"r": RANK, "s": SEQ_LEN, "norms": 4 * of.norms_per_layer}
    return int(eval(terms, {"__builtins__": {}}, names))


GROUPED, ALIKE = {"num_kv_heads": 2}, {"num_kv_heads": 6}
LITGPT: list[tuple[str, dict[str, int], bool, tuple[str, str, str, str, str]]] = [
    ("llama", GROUPED, False, (
        "2*h*2 + 4*h*4 + 5*a*d*2 + 4*f*2 + a*4",
        "h*2 + 2*h*4 + 4*a*d*2 + 3*f*2 + (a+k)*d*2 + 2*r*2 + a*4",
        "h*2 + h + 2*h*4 + 4*a*d*2 + 3*f*2 + (a+k)*d*2 + 2*r*2 + a*4",
        "2*h*2 + 2*h*4 + 5*a*d*2 + 4*f*2 + 7*r*2 + a*4",
        "3*h*2 + 3*h + 2*h*4 + 5*a*d*2 + a*d + 4*f*2 + f + 7*r*2 + a*4",
    )),
    ("llama", ALIKE, False, (
        "2*h*2 + 4*h*4 + 7*a*d*2 + 4*f*2 + a*4",
        "h*2 + 2*h*4 + 6*a*d*2 + 3*f*2 + 2*a*d*2 + 2*r*2 + a*4",
        "h*2 + h + 2*h*4 + 6*a*d*2 + 3*f*2 + 2*a*d*2 + 2*r*2 + a*4",
        "2*h*2 + 2*h*4 + 7*a*d*2 + 4*f*2 + 7*r*2 + a*4",
        "3*h*2 + 3*h + 2*h*4 + 7*a*d*2 + a*d + 4*f*2 + f + 7*r*2 + a*4",
    )),
    ("gemma2", GROUPED, True, (
        "2*h*2 + 8*h*4 + 4*a*d*2 + 4*f*2 + 8*a*s",
        "h*2 + 4*h*4 + 3*a*d*2 + 3*f*2 + (a+k)*d*2 + 2*r*2 + 8*a*s",
        "h*2 + h + 4*h*4 + 3*a*d*2 + 3*f*2 + (a+k)*d*2 + 2*r*2 + 8*a*s",
        "2*h*2 + 4*h*4 + 4*a*d*2 + 4*f*2 + 7*r*2 + 8*a*s",
        "3*h*2 + 3*h + 4*h*4 + 4*a*d*2 + a*d + 4*f*2 + f + 7*r*2 + 8*a*s",
    )),
    ("phi", ALIKE, False, (
        "2*h*2 + 7*a*d*2 + 2*f*2 + a*4",
        "2*h*2 + 6*a*d*2 + 2*a*d*2 + f*2 + 2*r*2 + a*4",
        "2*h*2 + h + 6*a*d*2 + 2*a*d*2 + f*2 + 2*r*2 + a*4",
        "2*h*2 + 7*a*d*2 + 2*f*2 + 6*r*2 + a*4",
        "3*h*2 + 2*h + 7*a*d*2 + a*d + 2*f*2 + f + 6*r*2 + a*4",
    )),
    ("gpt-neox", ALIKE, False, (
        "3*h*2 + 7*a*d*2 + 2*f*2 + a*4",
        "2*h*2 + 6*a*d*2 + 2*a*d*2 + f*2 + 2*r*2 + a*4",
        "2*h*2 + h + 6*a*d*2 + 2*a*d*2 + f*2 + 2*r*2 + a*4",
        "3*h*2 + 7*a*d*2 + 2*f*2 + 6*r*2 + a*4",
        "3*h*2 + 2*h + 7*a*d*2 + a*d + 2*f*2 + f + 6*r*2 + a*4",
    )),
    ("falcon", {"num_kv_heads": 1}, False, (
        "2*h*2 + 5*a*d*2 + 2*f*2 + a*4",
        "2*h*2 + 4*a*d*2 + f*2 + (a+k)*d*2 + 2*r*2 + a*4",
        "2*h*2 + h + 4*a*d*2 + f*2 + (a+k)*d*2 + 2*r*2 + a*4",
        "2*h*2 + 5*a*d*2 + 2*f*2 + 6*r*2 + a*4",
        "3*h*2 + 2*h + 5*a*d*2 + a*d + 2*f*2 + f + 6*r*2 + a*4",
    )),
]  # fmt: skip
FIVE = [None, lora(SOME), lora(SOME, dropout=True), lora(EVERY), lora(EVERY, dropout=True)]
"""Full training; q, v and all matrices with adapters in 16 bits, without and with dropout."""


@pytest.mark.parametrize("recipe_index", range(5), ids=["full", "q,v", "q,v dropout", "all", "all dropout"])
@pytest.mark.parametrize("row", LITGPT, ids=[f"{row[0]}-{row[1]['num_kv_heads']}" for row in LITGPT])
def test_litgpt(row: tuple[str, dict[str, int], bool, tuple[str, ...]], recipe_index: int) -> None:
    architecture, sizes, naive, terms = row
    of = shape(architecture, **sizes)
    found = layer(of, "litgpt", FIVE[recipe_index], naive=naive)
    assert found == measured(terms[recipe_index] + " + norms", of)


TORCHTUNE = (
    "2*h*2 + 4*h*4 + 4*a*d*2 + 4*f*2 + a*4",
    "h*2 + 2*h*4 + 4*a*d*2 + 3*f*2 + 2*r*2 + a*4",
    "2*h*2 + 2*h + 2*h*4 + 4*a*d*2 + 3*f*2 + 2*r*2 + a*4",
    "2*h*2 + 2*h*4 + 4*a*d*2 + 4*f*2 + 7*r*2 + a*4",
    "5*h*2 + 5*h + 2*h*4 + 5*a*d*2 + a*d + 4*f*2 + f + 7*r*2 + a*4",
)


@pytest.mark.parametrize("recipe_index", range(5), ids=["full", "q,v", "q,v dropout", "all", "all dropout"])
@pytest.mark.parametrize("heads", [2, 6])
def test_torchtune(heads: int, recipe_index: int) -> None:
    of = shape("llama", num_kv_heads=heads)
    assert layer(of, "torchtune", FIVE[recipe_index]) == measured(TORCHTUNE[recipe_index] + " + norms", of)


@pytest.mark.parametrize(
    ("software", "adapter", "precision", "terms"),
    [
        ("litgpt", None, "bf16-mixed", "3*h*2 + 4*h*4 + 5*a*d*2 + 4*f*2 + a*4"),
        ("litgpt", lora(SOME, weight_bytes=4, base="fp32"), "bf16-mixed",
         "h*2 + 2*h*4 + 4*a*d*2 + 3*f*2 + (a+k)*d*2 + 2*r*2 + a*4"),
        ("litgpt", lora(EVERY, weight_bytes=4, base="fp32", dropout=True), "bf16-mixed",
         "3*h*2 + 3*h + 2*h*4 + 5*a*d*2 + a*d + 4*f*2 + f + 7*r*2 + a*4"),
        ("hf-trainer", None, "bf16-mixed", "5*h*2 + 4*h*4 + 2*a*d*2 + 2*k*d*2 + 4*f*2 + a*4"),
        ("hf-trainer", lora(EVERY, weight_bytes=4, base="fp32"), "bf16-mixed",
         "5*h*2 + 2*h*4 + 3*a*d*2 + 4*f*2 + 2*k*d*2 + 7*r*2 + a*4"),
    ],
)  # fmt: skip
def test_weights_in_32_bits_under_autocast(software: str, adapter: Adapter | None, precision: str, terms: str) -> None:
    of = shape("llama")
    assert layer(of, software, adapter, precision=precision) == measured(terms + " + norms", of)


def test_weights_in_32_bits_without_autocast() -> None:
    of = shape("llama")
    assert layer(of, "fsdp2-hf", precision="fp32") == measured("(6*h + 2*a*d + 2*k*d + 4*f)*4 + a*4 + norms", of)


@pytest.mark.parametrize(
    ("software", "adapter", "copies"),
    [
        ("fsdp2-hf", None, 24.52),
        ("fsdp2-hf", lora(EVERY), 22.54),
        ("fsdp2-hf", lora(SOME), 18.02),
        ("fsdp2-hf", lora(EVERY, dropout=True), 31.29),
        ("fsdp2-hf", lora(EVERY, weight_bytes=4), 36.07),
        ("fsdp2-hf", lora(EVERY, weight_bytes=4, dropout=True), 40.82),
        ("fsdp2-hf", lora(SOME, weight_bytes=4), 21.03),
        ("fsdp2-hf", lora(SOME, weight_bytes=4, dropout=True), 22.03),
        ("hf-trainer", lora(EVERY, weight_bytes=4), 26.54),
        ("hf-trainer", lora(EVERY, weight_bytes=4, dropout=True), 31.29),
        ("hf-trainer", lora(SOME, weight_bytes=4), 19.02),
        ("fsdp2-hf", lora(EVERY, weight_bytes=4, base="nf4"), 36.07),
        ("fsdp2-hf", lora(EVERY, weight_bytes=4, base="nf4", rest_in_fp32=True), 41.07),
        ("fsdp2-hf", lora(EVERY, weight_bytes=4, base="nf4", rest_in_fp32=True, dropout=True), 53.82),
        ("hf-trainer", lora(EVERY, weight_bytes=4, base="nf4", rest_in_fp32=True), 37.04),
        ("hf-trainer", lora(EVERY, weight_bytes=4, base="nf4", rest_in_fp32=True, dropout=True), 41.79),
        ("hf-trainer", lora(SOME, weight_bytes=4, base="nf4", rest_in_fp32=True), 29.52),
        ("litgpt", None, 29.02),
        ("litgpt", lora(SOME), 20.77),
        ("litgpt", lora(EVERY, dropout=True), 29.79),
        ("torchtune", None, 28.02),
        ("torchtune", lora(SOME), 19.52),
        ("torchtune", lora(EVERY, dropout=True), 32.79),
    ],
)
def test_copies_of_the_hidden_state_in_a_layer_of_llama_3_8b(software: str, adapter: Adapter | None, copies: float) -> None:
    """16-bit copies of h; the hand-made traces of these recipes to two digits."""
    of = shape("llama", **LLAMA_3)
    assert layer(of, software, adapter) / (2 * of.hidden_size) == pytest.approx(copies, abs=0.01)


def test_on_a_cpu_dropout_masks_have_the_type_of_what_they_mask() -> None:
    """55.1 copies rather than 40.8: torch's CPU kernel multiplies by a mask in 32 bits."""
    of = shape("llama", **LLAMA_3)
    work = Work(tokens=1, seq_len=SEQ_LEN, mask_bytes=None)
    kept = Layer(of, work, recipe("bf16-pure"), framework("fsdp2-hf"), lora(EVERY, weight_bytes=4, dropout=True)).all()
    assert kept.value / (2 * of.hidden_size) == pytest.approx(55.07, abs=0.01)


@pytest.mark.parametrize(("software", "adapter", "copies"), [
    ("fsdp2-hf", None, 1), ("hf-trainer", lora(EVERY, weight_bytes=4), 1),
    ("hf-trainer", lora(EVERY, weight_bytes=4, base="nf4", rest_in_fp32=True), 2), ("torchtune", None, 1),
])  # fmt: skip
def test_recomputed_whole_a_layer_keeps_its_input_in_the_type_of_the_stream(
    software: str, adapter: Adapter | None, copies: int
) -> None:
    of = shape("llama", **LLAMA_3)
    kept = Layer(of, Work(tokens=1, seq_len=SEQ_LEN), recipe("bf16-pure"), framework(software), adapter).kept("full")
    assert kept.value == copies * 2 * of.hidden_size


@pytest.mark.parametrize(("precision", "kept", "both"), [("bf16-pure", 6, 12), ("fp32", 4, 12)])
def test_scores_of_transformers_eager_attention(precision: str, kept: int, both: int) -> None:
    """Saved: softmax in 32 bits and its 16-bit copy. With the gradients of both at the worst moment of backward: 12 bytes."""
    of = shape("llama")
    built = Layer(of, Work(tokens=1, seq_len=100_000, naive=True), recipe(precision), framework("fsdp2-hf"))
    scores = of.num_heads * 100_000
    assert built.all().term("attention scores").value == kept * scores
    assert built.all().value + built.backward().value == pytest.approx(both * scores, rel=0.01)
