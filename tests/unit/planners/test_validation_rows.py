"""Reading tables of measurements: order of columns, what is refused and where, what a row's words mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuitrain_planners import PlanError
from tuitrain_planners.validation import Row, parse_rows, read_rows
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.layouts_of_rows import layout_of
from tuitrain_planners.validation.recipe_of_rows import (
    adapter_of,
    attention_of,
    base_of,
    kernel_of,
    precision_of,
    recomputed_by,
    state_group_of,
    targets_of,
    zero_of,
)
from tuitrain_planners.validation.shapes_of_rows import NotComputableError, shape_of


def row(**values: str) -> Row:
    return Row(line=2, values={"id": "T-X-1", "metric": "MFU", "value": "40", **values})


def test_columns_come_in_any_order_and_unknown_ones_are_told() -> None:
    table = parse_rows("value,seq_len,metric,colour,id\n5.0,2048,MFU,blue,T-X-1\n\n6,,MFU,,T-X-2\n")
    assert [each.measured for each in table.rows] == [5.0, 6.0]
    assert [each.count("seq_len") for each in table.rows] == [2048, None]
    assert table.rows[1].line == 4
    assert table.unknown_columns == ("colour",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("id,metric,value\n", "no rows"),
        ("id,metric\na,b\n", "lacks the column value"),
        ("id,metric,value,id\na,b,1,c\n", "column id twice"),
        ("id,metric,value\na,b\n", "line 2: 2 fields for 3 columns"),
        ("id,metric,value,seq_len\na,b,1,\na,b,1,long\n", "line 3: seq_len 'long' is no number"),
        ("id,metric,value,seq_len\na,b,1,-4\n", "line 2: seq_len is -4"),
        ("id,metric,value,tp\na,b,1,1.5\n", "line 2: tp is 1.5"),
        ("id,metric,value,pue\na,b,1,nan\n", "line 2: pue is nan"),
        ("id,metric,value\na,b,fast\n", "line 2: value 'fast' is no number"),
        ("id,metric,value\na,b,-3\n", "line 2: value -3 is not above zero"),
        ("id,metric,value\na,,3\n", "line 2: metric is empty"),
        ('id,metric,value\na,b,"3\n', "line 2"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_rows(text)
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("value", ["OOM", ">780", "70.25+77.11", "0.1715*C^0.5243"])
def test_values_that_are_no_single_number_are_read_and_not_compared(value: str) -> None:
    (found,) = parse_rows(f"id,metric,value\na,b,{value}\n").rows
    assert found.measured is None
    assert found.out_of_memory == (value == "OOM")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"id,metric,value\n\xe9,b,1\n")
    with pytest.raises(PlanError, match="not UTF-8"):
        read_rows(tmp_path / "latin.csv")
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfid,metric,value\na,b,1\n")
    assert read_rows(tmp_path / "bom.csv").rows[0].id == "a"


LLAMA = {
    "model": "Llama-2-7B", "n_layers": "32", "hidden": "4096", "n_heads": "32", "n_kv_heads": "32", "ffn": "11008",
    "vocab": "32000", "tied": "no", "params": "6738415616",
}  # fmt: skip


def test_a_shape_from_columns_reproduces_the_count_or_is_refused() -> None:
    assert shape_of(row(**LLAMA), None).gated_ffn
    with pytest.raises(NotComputableError, match="the sizes give 6,738,415,616 parameters, the row says 9,000,000,001"):
        shape_of(row(**{**LLAMA, "params": "9000000001"}), None)
    with pytest.raises(NotComputableError, match="no family of models is known for 'Unheard'"):
        shape_of(row(**{**LLAMA, "model": "Unheard"}), None)
    with pytest.raises(NotComputableError, match="sizes of Llama-2-7B are not stated"):
        shape_of(row(model="Llama-2-7B", params="6738415616"), None)


def test_a_presets_name_is_enough(model_presets: Path) -> None:
    assert shape_of(row(model="LLAMA2-7B"), model_presets).name == "llama-2-7b"
    assert shape_of(row(model="Llama-3.1-8B (docs)", params="8030261248"), model_presets).vocab_size == 128256


def test_what_a_family_leaves_open_the_count_decides() -> None:
    gpt = {"model": "GPT 7.5B", "n_layers": "36", "hidden": "4096", "n_heads": "32", "ffn": "16384", "vocab": "51200"}
    assert shape_of(row(**gpt, params="7500000000"), None).tie_embeddings
    small = {**gpt, "model": "GPT 1.7B", "n_layers": "24", "hidden": "2048", "n_heads": "16", "ffn": "8192", "vocab": "131072"}
    assert not shape_of(row(**small, params="1700000000"), None).tie_embeddings


@pytest.mark.parametrize(
    ("gpu", "memory", "expected"),
    [
        ("A100-SXM4-40GB", "40", "a100-40gb"), ("A100", "80", "a100-80gb"), ("H100-80GB (DGX)", "80", "h100-80gb"),
        ("RTX 4090", "24", "rtx-4090"), ("H200", "141", "h200-141gb"), ("B200", "", "b200-180gb"),
    ],
)  # fmt: skip
def test_devices_by_the_words_of_their_names(gpu: str, memory: str, expected: str, hardware_presets: Path) -> None:
    assert hardware_of(row(gpu=gpu, gpu_mem_gb=memory), hardware_presets)[0].name == expected


def test_what_a_row_says_of_its_machine_counts(hardware_presets: Path) -> None:
    stated = row(gpu="H100 SXM 500W", gpu_mem_gb="80", notes="4x100Gb RoCE")
    device, node = hardware_of(stated, hardware_presets)
    assert (device.power_w, device.network_bytes_per_s, node) == (500, 6.25e9, 8)
    with pytest.raises(NotComputableError, match="'TPU v4' has no preset"):
        hardware_of(row(gpu="TPU v4"), hardware_presets)
    with pytest.raises(NotComputableError, match="not stated"):
        hardware_of(row(), hardware_presets)


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("FSDP FULL_SHARD", 3), ("FSDP SHARD_GRAD_OP", 2), ("DeepSpeed ZeRO-2 (script)", 2), ("Megatron dist. optimizer", 1),
        ("FSDP (ZeRO-1-like, no reshard after fwd)", 1), ("none (DP replicas)", 0), ("HSDP", 3), ("", 0),
    ],
)  # fmt: skip
def test_stages_of_sharding(text: str, stage: int) -> None:
    assert zero_of(row(sharding=text)) == stage


def test_groups_that_share_states() -> None:
    assert state_group_of(row(sharding="ZeRO-1 group 8"), 64) == 8
    assert state_group_of(row(sharding="HSDP"), 128) == 8
    assert state_group_of(row(sharding="FSDP"), 128) == 128


def test_words_of_a_recipe() -> None:
    assert precision_of(row(precision="bf16 + float8 linear")).peak_dtype == "fp8"
    assert precision_of(row(precision="NVFP4")).peak_dtype == "fp4"
    assert precision_of(row(precision="fp16 mixed")).name == "fp16-mixed"
    assert precision_of(row(precision="bf16-true; base bnb.nf4")).name == "bf16-pure"
    assert (recomputed_by(row(activation_checkpointing="full (per block)")).products) == 1
    per_op = recomputed_by(row(activation_checkpointing="selective (per-op: save SDPA + every 2nd matmul)"))
    assert (per_op.products, per_op.attention) == (0.5, 0)
    assert attention_of(row(attention="Megatron fused softmax (no flash)")) == "naive"
    assert attention_of(row(attention="FlashAttention-2")) == "flash"
    kernels = [kernel_of(row(attention=each)) for each in ("FlashAttention (triton)", "torch SDPA flash", "flash (cuDNN/TE)")]
    assert kernels == ["first", "second", "newest"]


def test_adapters_of_rows() -> None:
    assert adapter_of(row(method="pretrain")) is None
    assert targets_of(row(lora_targets="q,v")) == ("q", "v")
    assert targets_of(row(lora_targets="c_attn,c_proj,w1,w2")) == ("q", "k", "v", "o", "down", "gate", "up")
    assert base_of(row(method="qlora", precision="bf16-true; base bnb.nf4-dq")) == "nf4-dq"
    assert base_of(row(method="qlora", precision="fp16; base GPTQ int4")) == "int4-gptq"
    assert base_of(row(method="lora", precision="bf16")) == "16bit"
    with pytest.raises(NotComputableError, match="'adapter_v2' is not planned"):
        adapter_of(row(method="adapter_v2"))


def test_layouts_are_filled_by_rule_and_must_multiply_up() -> None:
    found = layout_of(row(n_gpus="64", tp="4", pp="8", global_batch="256", micro_batch="1"), 2048)
    assert (found.mesh.dp, found.micro_batch, found.micro_steps) == (2, 1, 128)
    assert layout_of(row(n_gpus="8", global_batch="64"), 2048).micro_batch == 4
    with pytest.raises(NotComputableError, match="does not make 64 devices"):
        layout_of(row(n_gpus="64", dp="3", tp="4", global_batch="12"), 2048)
    with pytest.raises(NotComputableError, match="number of devices is not stated"):
        layout_of(row(), 2048)
    with pytest.raises(NotComputableError, match="no multiple of the micro-batch 3"):
        layout_of(row(n_gpus="8", global_batch="64", micro_batch="3"), 2048)
