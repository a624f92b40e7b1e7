"""Throughput rows: a row's layout becomes a `Workload`, its step time the row's metric in the row's own convention.

What a row leaves open is filled by rule, the same for every row, and told: degrees of parallelism are 1; a micro-batch is what
makes MICRO_TOKENS tokens; nothing is recomputed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tuitrain_planners.efficiency import PUBLISHED, Efficiency
from tuitrain_planners.errors import PlanError
from tuitrain_planners.framework import framework
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.step_time import step_time
from tuitrain_planners.validation.conventions import convention_of, flop_in
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.recipe_of_rows import (
    adapter_of,
    attention_of,
    newest_kernel,
    overlaps,
    overlaps_tensor,
    precision_of,
    recomputed_by,
    software_of,
    state_group_of,
    zero_of,
)
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError, shape_of, with_positions
from tuitrain_planners.workload import Workload

METRICS: Final = (
    "tokens_per_s", "tokens_per_s_total", "tokens_per_s_per_gpu", "samples_per_s", "s_per_iter", "TFLOPS_per_gpu",
    "TFLOPS_per_gpu_hw", "MFU", "HFU",
)  # fmt: skip
MICRO_TOKENS: Final = 8192
"""Tokens of a micro-batch where a row states none: runs fill the device."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A row's degrees and batches."""

    mesh: Mesh
    micro_batch: int
    micro_steps: int


@dataclass(frozen=True)
class ThroughputRow:
    """One row, ready to be predicted."""

    row: Row
    work: Workload

    @property
    def devices(self) -> int:
        """All of them."""
        return self.work.mesh.devices

    @property
    def tokens(self) -> int:
        """Of one optimizer step, over all devices."""
        return self.work.seq_len * self.work.micro_batch * self.work.micro_steps * self.work.mesh.dp

    def predict(self, constants: Efficiency = PUBLISHED) -> tuple[float, str]:
        """(value in SI base units, unit) of the row's metric."""
        step_s = step_time(self.work, constants).step_s.value
        return self._metric(self.tokens / step_s, step_s)

    def measured(self) -> float | None:
        """The row's value in the same unit."""
        value = self.row.measured
        if value is None:
            return None
        return value * {"TFLOPS_per_gpu": 1e12, "TFLOPS_per_gpu_hw": 1e12, "MFU": 0.01, "HFU": 0.01}.get(self.row.metric, 1.0)

    def _metric(self, tokens_per_s: float, step_s: float) -> tuple[float, str]:
        metric, each = self.row.metric, tokens_per_s / self.devices
        if metric in ("tokens_per_s", "tokens_per_s_total"):
            return tokens_per_s, "tokens/s"
        if metric == "tokens_per_s_per_gpu":
            return each, "tokens/s"
        if metric == "samples_per_s":
            return tokens_per_s / self.work.seq_len, "samples/s"
        if metric == "s_per_iter":
            return step_s, "s"
        flop_per_s = each * self._flop
        if metric in ("TFLOPS_per_gpu", "TFLOPS_per_gpu_hw"):
            return flop_per_s, "FLOP/s"
        return flop_per_s / self._peak, ""

    @cached_property
    def _flop(self) -> float:
        recomputed = recomputed_by(self.row)
        return flop_in(
            convention_of(self.row), self.work.shape, self.work.seq_len, again=recomputed.products,
            attention_again=recomputed.attention,
        ).value  # fmt: skip

    @cached_property
    def _peak(self) -> float:
        """What the source divides by: the whole device's datasheet peak, whatever its power limit."""
        peak = self.work.hardware.peak(self.work.product_dtype)
        assert peak is not None, "the prediction needed it"
        note = self.row.text("unit_note")
        stated = next((float(word) for word in note.replace("of ", "").split() if word.replace(".", "").isdigit()), None)
        return stated * 1e12 if stated is not None and note.startswith("of ") else peak.value


def throughput_row(row: Row, models: Path | None, hardware: Path | None) -> ThroughputRow:
    """The row as a workload; NotComputableError says why it is none."""
    if row.metric not in METRICS:
        raise NotComputableError(f"{row.metric} is not what a step's time says")
    seq_len = row.count("seq_len")
    if seq_len is None:
        raise NotComputableError("the sequence length is not stated")
    if "varies" in row.text("notes") or "sequence lengths vary" in row.text("notes"):
        raise NotComputableError("sequence lengths vary below the one stated")
    shape, (device, node) = with_positions(shape_of(row, models), seq_len), hardware_of(row, hardware)
    layout, precision = _layout(row, seq_len), precision_of(row)
    recomputed, attention = recomputed_by(row), attention_of(row)
    # Sharded Data Parallel sums in 32 bits unless told otherwise, everybody else in the dtype of the gradients.
    narrow = "fsdp" not in row.text("sharding").lower() or "PURE" in row.text("precision")
    ranks = layout.mesh.state_ranks
    stage = zero_of(row)
    try:
        layout.mesh.check(shape, seq_len)
        work = Workload(
            shape=shape, hardware=device, seq_len=seq_len, micro_batch=layout.micro_batch, micro_steps=layout.micro_steps,
            mesh=layout.mesh, precision=precision,
            sharding=Sharding(
                framework=framework("deepspeed-paper" if narrow else "fsdp2-hf"), stage=stage,
                ranks=state_group_of(row, ranks) if stage > 1 else ranks,
            ),
            attention=attention, software=software_of(row), newest_kernel=newest_kernel(row),
            tensor_overlap=overlaps_tensor(row), again=recomputed.products,
            attention_again=recomputed.attention, adapter=adapter_of(row), overlap=overlaps(row), node_devices=node,
        )  # fmt: skip
    except PlanError as error:
        raise NotComputableError(error.message) from error
    return ThroughputRow(row, work)


def _layout(row: Row, seq_len: int) -> Layout:
    tp, pp, cp, ep = (row.count(each) or 1 for each in ("tp", "pp", "cp", "ep"))
    devices, dp = row.count("n_gpus"), row.count("dp")
    if devices is None and dp is None:
        raise NotComputableError("the number of devices is not stated")
    devices = devices or tp * pp * cp * (dp or 1)
    if dp is None or tp * pp * cp * dp != devices:
        if devices % (tp * pp * cp) or (dp is not None and dp * tp * pp * cp != devices):
            raise NotComputableError(f"dp {dp or '?'} x tp {tp} x pp {pp} x cp {cp} does not make {devices} devices")
        dp = devices // (tp * pp * cp)
    mesh = _mesh(dp=dp, tp=tp, pp=pp, vp=_turns(row, pp), cp=cp, ep=ep, row=row)
    micro, steps = _batches(row, seq_len, dp, pp)
    return Layout(mesh, micro, steps)


def _turns(row: Row, pp: int) -> int:
    """Turns of an interleaved pipeline. Where a run of Hopper's time or later states none, two layers a turn: plain pipelines
    of such depths would idle half the time."""
    layers, stated = row.count("n_layers") or pp, row.count("vp")
    if pp == 1:
        return 1
    if stated is not None:  # embedding and loss may take a turn of their own: 126 layers in 8 x 16 turns
        return max(1, min(stated, layers // pp))
    recent = re.match(r"(h1|h2|h8|b[23]|gb|gh)", row.text("gpu").lower())
    return max(1, layers // (2 * pp)) if recent else 1


def _mesh(*, dp: int, tp: int, pp: int, vp: int, cp: int, ep: int, row: Row) -> Mesh:
    sequence = "sp" in row.text("activation_checkpointing").lower().split() or "sequence parallel" in row.text(
        "activation_checkpointing"
    )
    sequence = sequence or attention_of(row) == "flash"
    try:
        return Mesh(
            dp=dp, tp=tp, pp=pp, vp=vp, cp=cp, ep=ep, sequence_parallel=sequence, schedule="interleaved" if vp > 1 else "1f1b"
        )
    except PlanError as error:
        raise NotComputableError(error.message) from error


def _batches(row: Row, seq_len: int, dp: int, pp: int) -> tuple[int, int]:
    """(micro-batch, micro-batches per step and rank)."""
    micro, steps, whole = row.count("micro_batch"), row.count("grad_accum"), row.count("global_batch")
    if whole is not None and whole % dp == 0:
        share = whole // dp
        if micro is None and steps is not None and share % steps == 0:
            micro = share // steps
        if micro is None:
            micro = _usual_micro(seq_len, share, pp)
        if share % micro:
            raise NotComputableError(f"a global batch of {whole} over {dp} ranks is no multiple of the micro-batch {micro}")
        return micro, share // micro
    if whole is not None and micro is None:
        raise NotComputableError(f"a global batch of {whole} does not divide over {dp} ranks")
    micro = micro or _usual_micro(seq_len, 1 << 20, pp)
    if steps is None and pp > 1:
        raise NotComputableError("neither the global batch nor the number of micro-batches is stated")
    return micro, steps or 1


def _usual_micro(seq_len: int, share: int, pp: int) -> int:
    """A power of two that fills the device, or one sequence where a pipeline wants many micro-batches."""
    micro = 1
    while pp == 1 and micro * 2 * seq_len <= MICRO_TOKENS and share % (micro * 2) == 0:
        micro *= 2
    return micro
