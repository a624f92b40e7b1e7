"""Resolving: open ends are filled in with reasons, and nothing that was asked for is changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuitrain.config.load import load_config
from tuitrain.config.resolve import Pace, resolve, settle
from tuitrain.config.resolved import Resolved
from tuitrain.errors import ConfigError, UsageError
from tuitrain.runs.machine import Gpu, Machine

CPU_BOX = Machine(
    cpu="a CPU", physical_cores=8, usable_cores=16, memory_bytes=32 << 30, available_bytes=30 << 30,
    cpu_flags=frozenset({"avx512_bf16"}), gpus=(), gpu_reason="no NVIDIA driver found",
)  # fmt: skip


def gpu_box(capability: float, count: int = 1) -> Machine:
    gpu = Gpu(name="a GPU", memory_bytes=24 << 30, compute_capability=capability, driver="550", power_limit_w=300.0)
    return replace(CPU_BOX, gpus=(gpu,) * count, gpu_reason="")


def resolved(machine: Machine = CPU_BOX, *overrides: str) -> Resolved:
    return resolve(load_config(None, overrides), machine)


def test_everything_open_is_filled_in_with_a_reason() -> None:
    result = resolved()
    model, train, optim = result.config.model, result.config.train, result.config.optim
    assert None not in (
        model.hidden_size,
        model.num_layers,
        model.num_heads,
        model.num_kv_heads,
        model.head_dim,
        model.ffn_size,
    )
    assert "auto" not in (
        train.batch_tokens,
        train.precision,
        optim.lr,
        optim.matrix_lr,
        optim.embedding_lr,
        train.seq_len,
        result.config.run.device,
        result.config.run.threads,
    )
    assert all(each.reason for each in result.derived)


@pytest.mark.parametrize(
    ("machine", "precision", "why"),
    [
        (CPU_BOX, "bf16-mixed", "natively"),
        (replace(CPU_BOX, cpu_flags=frozenset()), "fp32", "no bf16 instructions"),
        (gpu_box(8.9), "bf16-mixed", "tensor cores"),
        (gpu_box(7.5), "fp16-mixed", "no bf16 tensor cores"),
    ],
)
def test_the_machine_chooses_the_precision_and_says_why(machine: Machine, precision: str, why: str) -> None:
    result = resolved(machine)
    assert result.config.train.precision == precision
    assert why in result.reason("train.precision")


def test_what_was_asked_for_stays() -> None:
    asked = [
        "train.precision=fp32",
        "optim.lr=0.5",
        "optim.matrix_lr=0.7",
        "train.batch_tokens=1024",
        "run.threads=3",
        "model.ffn_size=100",
        "run.device=cpu",
    ]
    config = resolved(gpu_box(9.0), *asked).config
    assert (config.train.precision, config.optim.lr, config.optim.matrix_lr, config.train.batch_tokens) == (
        "fp32",
        0.5,
        0.7,
        1024,
    )
    assert (config.run.threads, config.model.ffn_size, config.run.device) == (3, 100, "cpu")


def test_threads_are_shared_among_processes() -> None:
    assert resolved(CPU_BOX, "run.nproc=4", "train.batch_tokens=4096").config.run.threads == 2


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "nanochat"])
def test_own_sizes_are_completed_consistently(architecture: str) -> None:
    sizes = ["model.hidden_size=96", "model.num_layers=3", "model.num_heads=6", f"model.architecture={architecture}"]
    model = resolved(CPU_BOX, *sizes).config.model
    assert (model.head_dim, model.num_kv_heads) == (16, 6)
    assert model.ffn_size == (384 if architecture == "nanochat" else 256)


def test_a_preset_gives_its_sizes() -> None:
    model = resolved(CPU_BOX, "model.preset=smollm2-135m", "model.architecture=llama").config.model
    assert (model.hidden_size, model.num_layers, model.num_kv_heads) == (576, 30, 3)


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("gpt2", "the architecture gpt2"),
        ("mixtral-8x7b", "the architecture mixtral"),
        ("deepseek-v3", "the architecture deepseek-v3"),
        ("gemma-2-2b", "the architecture gemma2"),
        ("mistral-7b", "sliding windows"),
    ],
)
def test_a_preset_the_native_decoder_cannot_be_is_refused(preset: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        resolved(CPU_BOX, f"model.preset={preset}", "model.architecture=llama")
    assert "tuitrain plan" in caught.value.hint


def test_the_batch_divides_among_processes_and_sequences() -> None:
    for nproc in (1, 2, 4):
        train = resolved(CPU_BOX, f"run.nproc={nproc}", "train.tokens=3e6").config.train
        assert isinstance(train.batch_tokens, int)
        assert train.batch_tokens % (train.seq_len * nproc) == 0


def test_longer_runs_get_larger_batches() -> None:
    sizes = [resolved(CPU_BOX, f"train.tokens={tokens}").config.train.batch_tokens for tokens in (1e6, 1e8, 1e10)]
    assert sizes == sorted(set(sizes))


def test_settling_fills_in_what_depends_on_the_length() -> None:
    result = settle(resolved(), 1000, "as asked for", pace=Pace(step_s=0.5, eval_tokens_per_s=1e4, validation_tokens=100_000))
    config = result.config
    assert config.train.steps == 1000
    assert "auto" not in (config.schedule.warmup_steps, config.eval.every_steps, config.checkpoint.every_steps)
    assert 1000 // config.checkpoint.every_steps >= 4
    assert config.eval.max_tokens == 15_000  # 10 evaluations, 3 % of 500 s, at 10 000 tokens/s


@pytest.mark.parametrize("pace", [None, Pace(step_s=1.0, eval_tokens_per_s=1e6, validation_tokens=1000)])
def test_a_validation_set_that_is_cheap_is_read_whole(pace: Pace | None) -> None:
    assert settle(resolved(), 1000, "as asked for", pace=pace).config.eval.max_tokens is None


def test_settling_a_single_step_is_possible() -> None:
    config = settle(resolved(CPU_BOX, "optim.kind=adamw"), 1, "as asked for", pace=None).config
    assert config.schedule.warmup_steps == 0
    assert config.eval.every_steps == config.checkpoint.every_steps == 1


def test_resolved_round_trips_through_json() -> None:
    import json

    result = settle(resolved(), 10, "test", pace=Pace(step_s=1.0))
    assert Resolved.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_value_of_the_wrong_kind_cannot_be_derived() -> None:
    with pytest.raises(ValueError, match="micro_batch"):
        resolved().with_value("train.micro_batch", -1, "nonsense")
    with pytest.raises(AssertionError, match="no field"):
        resolved().with_value("train.micro_bach", 1, "typo")


def test_a_tied_embedding_moves_at_the_rate_of_a_head() -> None:
    free, tied = (
        resolved().config.optim,
        resolved(CPU_BOX, "model.architecture=llama", "model.tie_embeddings=true").config.optim,
    )
    assert free.embedding_lr > 10 * free.lr
    assert tied.embedding_lr <= tied.lr


@pytest.mark.parametrize(
    ("depth", "batch", "seq_len"), [(4, "auto", 256), (6, "auto", 512), (12, "auto", 1024), (4, 3 * 128, 128)]
)
def test_sequences_grow_with_the_model_and_divide_the_batch(depth: int, batch: int | str, seq_len: int) -> None:
    train = resolved(CPU_BOX, f"model.depth={depth}", f"train.batch_tokens={batch}").config.train
    assert train.seq_len == seq_len
    assert train.batch_tokens % seq_len == 0


def test_auto_takes_the_visible_devices() -> None:
    many = resolved(gpu_box(9.0, 4), "run.nproc=auto")
    assert (many.config.run.nproc, many.reason("run.nproc")) == (4, "one process per visible device: 4 x a GPU")
    assert many.config.train.batch_tokens % (4 * many.config.train.seq_len) == 0
    alone = resolved(CPU_BOX, "run.nproc=auto")
    assert (alone.config.run.nproc, alone.config.run.threads) == (1, 8)
    assert "every core" in alone.reason("run.nproc")


def test_auto_on_a_device_nobody_sees_is_refused() -> None:
    with pytest.raises(ConfigError, match="none is seen: no NVIDIA driver found"):
        resolved(CPU_BOX, "run.nproc=auto", "run.device=cuda")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("train.seq_len=512", "train.batch_tokens=2048"), "4 sequences per step do not divide among 3 processes"),
        (("train.batch_tokens=2048",), "give train.seq_len too"),
        (("train.batch_sequences=8", "train.seq_len=64"), "nearest: 9, or run.nproc=2"),
        (("parallel.zero=3", "parallel.shard_group=2"), "groups of 2 do not divide 3 processes"),
    ],
)
def test_what_auto_does_not_divide_is_refused_with_why_it_is_that_many(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.nproc=3 \(one process per visible device") as caught:
        resolved(gpu_box(9.0, 3), "run.nproc=auto", *overrides)
    assert said in str(caught.value)


def test_a_batch_in_sequences_is_that_many_sequences() -> None:
    train = resolved(CPU_BOX, "train.batch_sequences=6", "train.seq_len=64", "run.nproc=2").config.train
    assert train.batch_tokens == 6 * 64


def test_a_derived_batch_holds_whole_micro_batches_of_every_process() -> None:
    train = resolved(CPU_BOX, "train.micro_batch=3", "run.nproc=2").config.train
    assert train.batch_tokens % (2 * 3 * train.seq_len) == 0


def test_sharding_over_one_process_says_that_nothing_is_cut() -> None:
    assert "nothing is cut" in resolved(CPU_BOX, "parallel.zero=3").reason("parallel.zero")
    assert resolved(CPU_BOX, "parallel.zero=3", "run.nproc=2").reason("parallel.zero") == ""
