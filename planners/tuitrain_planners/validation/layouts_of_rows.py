"""How a row's devices and batches are laid out. What a row leaves open is filled by rule, the same for every row: degrees of
parallelism are 1; a micro-batch is what makes MICRO_TOKENS tokens, or one sequence in a pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.validation.recipe_of_rows import attention_of
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError

MICRO_TOKENS: Final = 8192
"""Tokens of a micro-batch where a row states none: runs fill the device."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A row's degrees and batches."""

    mesh: Mesh
    micro_batch: int
    micro_steps: int


def layout_of(row: Row, seq_len: int) -> Layout:
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
