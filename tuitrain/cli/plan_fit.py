"""`tuitrain plan MODEL --gpu X --gpus N --fit`: which layout of these devices is fastest, and why not the others?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from tuitrain.errors import UsageError

if TYPE_CHECKING:
    from tuitrain_planners import Bounds, Found, Layout, PlanRequest, Remedy

_COLUMNS: Final = ("layout", "ZeRO", "recompute", "batch", "precision", "loss", "GiB/device", "step", "tokens/s", "MFU")
_NUMBERS: Final = (6, 7, 8, 9)
_HELP_SHOWN: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The global batch asked for; with neither, the request's own."""

    sequences: int | None = None
    tokens: float | None = None

    def of(self, request: PlanRequest) -> int:
        """In sequences. UsageError when the tokens are not whole sequences."""
        if self.tokens is None:
            return self.sequences or request.mesh.dp * request.micro_batch * request.grad_accum
        if self.tokens % request.seq_len:
            low = max(1, int(self.tokens // request.seq_len))
            near = " or ".join(f"{each * request.seq_len} ({each} sequences)" for each in (low, low + 1))
            raise UsageError(f"--batch-tokens {self.tokens:.0f} in sequences of {request.seq_len} tokens", f"take {near}")
        return int(self.tokens // request.seq_len)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layouts:
    """What the search found, ready to print."""

    found: Found
    help: tuple[Remedy, ...]
    """What would make room; empty when something fits."""

    def show_best(self) -> None:
        """The table."""
        from tuitrain.cli.output import show, show_table
        from tuitrain_planners import format_duration

        found = self.found
        fitting = f"{found.fitting} fit" + (f", {found.tight} are tight" if found.tight else "")
        show(f"{found.counted} layouts at {found.global_batch} sequences per step: {fitting}\n")
        rows = []
        for each in found.best:
            layout, mfu = each.layout, "-" if each.mfu is None else f"{each.mfu.value:.1%}"
            memory = f"{each.device_bytes.value / 2**30:.1f}" + (" tight" if each.verdict == "tight" else "")
            rows.append((
                degrees(layout), str(layout.zero), layout.recompute, f"{layout.micro_batch} x {layout.grad_accum}",
                layout.precision, layout.loss_head, memory, format_duration(each.step_s.value),
                f"{each.tokens_per_s.value:,.0f}", mfu,
            ))  # fmt: skip
        if rows:
            show_table(_COLUMNS, rows, right=_NUMBERS)
            show()

    def show_rejected(self) -> None:
        """Why not the others; what would help when there is none."""
        from tuitrain.cli.output import show
        from tuitrain_planners import format_bytes, format_duration

        best = self.found.best[0].step_s.value if self.found.best else None
        if best is None:
            show("nothing fits; planned is the nearest layout")
        for each in self.found.rejected:
            faster = ""
            if each.step_s is not None and best is not None and each.step_s < best:
                faster = f"; a step would take {format_duration(each.step_s)}"
            show(f"rejected: {each}{faster}")
        for remedy in self.help:
            show(f"would help: {remedy.change}: {format_bytes(remedy.device_bytes.value)}, {remedy.verdict}")

    def to_dict(self) -> dict[str, Any]:
        """For --json, in SI base units."""
        found = self.found
        return {
            "global_batch": found.global_batch,
            "layouts": found.counted,
            "fitting": found.fitting,
            "tight": found.tight,
            "best": [
                {
                    **_layout(each.layout), "device_bytes": each.device_bytes.value, "device_bytes_high": each.high_bytes.value,
                    "peak_phase": each.phase, "verdict": each.verdict, "step_s": each.step_s.value,
                    "tokens_per_s": each.tokens_per_s.value, "mfu": None if each.mfu is None else each.mfu.value,
                }
                for each in found.best
            ],
            "rejected": [
                {
                    "layout": None if each.layout is None else _layout(each.layout), "reason": each.reason,
                    "phase": each.phase, "missing_bytes": each.missing_bytes, "step_s": each.step_s,
                }
                for each in found.rejected
            ],
            "would_help": [
                {"change": each.change, "device_bytes": each.device_bytes.value, "verdict": each.verdict} for each in self.help
            ],
        }  # fmt: skip


def degrees(layout: Layout) -> str:
    """The axes in use, as `dp 8 tp 2`."""
    mesh = layout.mesh
    more = ((axis, getattr(mesh, axis)) for axis in ("tp", "pp", "vp", "cp", "ep"))
    return " ".join((f"dp {mesh.dp}", *(f"{axis} {degree}" for axis, degree in more if degree > 1)))


def batch_of(given: set[str], *, fit: bool, model: str | None, sequences: int | None, tokens: str | None) -> Batch:
    """The global batch. UsageError for options that need --fit, or that say the same twice."""
    from tuitrain_planners import parse_count

    named = [name for name, value in (("--global-batch", sequences), ("--batch-tokens", tokens)) if value is not None]
    if named and not fit:
        raise UsageError(f"{' and '.join(named)} without --fit", "--micro-batch and --accum set the batch of one layout")
    if fit and model is None:
        raise UsageError("--fit searches layouts of a MODEL, and there is none", "name one, or leave --fit out")
    if len(named) > 1:
        raise UsageError(f"both {' and '.join(named)} set the global batch", "give one of them")
    if named and (own := sorted({"micro_batch", "accum"} & given)):
        options = " and ".join(f"--{each.replace('_', '-')}" for each in own)
        raise UsageError(f"{named[0]} and {options}", "--fit chooses micro-batch and accumulation; give the global batch only")
    return Batch(sequences=sequences, tokens=None if tokens is None else parse_count(tokens))


def bounds_of(given: set[str], zero: str, recompute: str, precision: str, loss: str | None) -> Bounds:
    """What was typed stays as it was typed; the rest is searched."""
    from tuitrain_planners import Bounds

    every = Bounds()
    return Bounds(
        zero=(int(zero),) if "zero" in given and zero != "all" else every.zero,
        recompute=(recompute,) if "recompute" in given else every.recompute,
        precisions=tuple(precision.split(",")),
        loss_heads=() if loss is None else tuple(loss.split(",")),
    )


def fitted(request: PlanRequest, batch: Batch, bounds: Bounds) -> tuple[PlanRequest, Layouts]:
    """The request in the fastest layout that fits, or in the nearest when none does; and everything found."""
    from tuitrain_planners import remedies, search

    found = search(request, batch.of(request), bounds=bounds)
    if found.best:
        return found.best[0].layout.of(request), Layouts(found=found, help=())
    nearest = next(each.layout for each in found.rejected if each.layout is not None)
    chosen = nearest.of(request)
    return chosen, Layouts(found=found, help=remedies(chosen)[:_HELP_SHOWN])


def _layout(layout: Layout) -> dict[str, Any]:
    mesh = asdict(layout.mesh)
    return {
        **{axis: mesh[axis] for axis in ("dp", "tp", "pp", "vp", "cp", "ep")},
        "schedule": layout.mesh.schedule, "zero": layout.zero, "recompute": layout.recompute, "precision": layout.precision,
        "loss_head": layout.loss_head, "micro_batch": layout.micro_batch, "grad_accum": layout.grad_accum,
    }  # fmt: skip
