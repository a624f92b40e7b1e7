"""`tuitrain plan MODEL --gpu X --gpus N --fit`: which layout of these devices is fastest, and why not the others?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tuitrain.cli.plan_asked import Asked, given_of
from tuitrain.errors import UsageError

if TYPE_CHECKING:
    import typer

    from tuitrain_planners import Bounds, Found, Layout, PlanRequest, Remedy

_COLUMNS: Final = ("layout", "ZeRO", "recompute", "batch", "precision", "loss", "GiB/device", "step", "tokens/s", "MFU")
_NUMBERS: Final = (6, 7, 8, 9)
_AXES: Final = ("tp", "pp", "vp", "cp", "ep")
_HELP_SHOWN: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What to search. With neither sequences nor tokens the global batch is the request's own."""

    bounds: Bounds
    sequences: int | None
    tokens: float | None

    def batch(self, request: PlanRequest) -> int:
        """The global batch in sequences. UsageError when the tokens are not whole sequences."""
        if self.tokens is None:
            return self.sequences or request.mesh.dp * request.micro_batch * request.grad_accum
        if self.tokens < 1 or self.tokens % request.seq_len:
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
    more = ((axis, getattr(mesh, axis)) for axis in _AXES)
    return " ".join((f"dp {mesh.dp}", *(f"{axis} {degree}" for axis, degree in more if degree > 1)))


def search_of(asked: Asked, context: typer.Context) -> tuple[Asked, Search | None]:
    """What was typed with the first of several precisions and loss heads, and the search; None without --fit.

    What was typed stays as it was typed, the rest is searched. UsageError for what needs --fit or contradicts it.
    """
    from tuitrain_planners import Bounds, parse_count

    given = given_of(context)
    _refuse(asked, given)
    if not asked.fit:
        return asked, None
    precisions, heads = asked.precision.split(","), [] if asked.loss is None else asked.loss.split(",")
    every = Bounds()

    def degree(axis: str) -> tuple[int, ...]:
        return (getattr(asked, axis),) if axis in given else ()

    bounds = Bounds(
        tp=degree("tp"),
        pp=degree("pp"),
        vp=degree("vp"),
        cp=degree("cp"),
        ep=degree("ep"),
        zero=(int(asked.zero),) if "zero" in given and asked.zero.isdecimal() else every.zero,
        recompute=(asked.recompute,) if "recompute" in given else every.recompute,
        precisions=tuple(precisions),
        loss_heads=tuple(heads),
    )
    tokens = None if asked.batch_tokens is None else parse_count(asked.batch_tokens)
    first = replace(asked, precision=precisions[0], loss=heads[0] if heads else None)
    return first, Search(bounds=bounds, sequences=asked.global_batch, tokens=tokens)


def _refuse(asked: Asked, given: set[str]) -> None:
    named = [name for name, option in (("global_batch", "--global-batch"), ("batch_tokens", "--batch-tokens")) if name in given]
    options = " and ".join(f"--{each.replace('_', '-')}" for each in named)
    if named and not asked.fit:
        raise UsageError(f"{options} without --fit", "--micro-batch and --accum set the batch of one layout")
    if asked.fit and asked.names_no_model:
        raise UsageError("--fit searches layouts of a MODEL, and there is none", "name one, or leave --fit out")
    if asked.fit and asked.gpipe:
        raise UsageError("--fit and --gpipe", "the schedules searched are 1F1B and interleaved: leave one of them out")
    if len(named) > 1:
        raise UsageError(f"both {options} set the global batch", "give one of them")
    if named and (own := [each for each in ("micro_batch", "accum") if each in given]):
        more = " and ".join(f"--{each.replace('_', '-')}" for each in own)
        raise UsageError(f"{options} and {more}", "--fit chooses micro-batch and accumulation; give the global batch only")


def fitted(request: PlanRequest, question: Search) -> tuple[PlanRequest, Layouts]:
    """The request in the fastest layout that fits, or in the nearest when none does; and everything found."""
    from tuitrain_planners import remedies, search

    found = search(request, question.batch(request), bounds=question.bounds)
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
