"""Fits the constants of the time model to a table of published runs, and tells the error on what was held out.

    python -m benchmarks.fit_throughput throughput.csv [PRESETS]

The constants are those of `efficiency.py`: one value per cause, for all runs together. Runs of FIT_SOURCES are fitted (mean
absolute log error, every source weighed by the square root of its size, so that a long table does not drown the others); all
other sources only judge. What it prints is copied into `efficiency.py` by hand, rounded. It stays within BOUNDS, which are
physical: no share above what microbenchmarks of the same devices show.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Final

from tuitrain_planners.efficiency import PUBLISHED, Efficiency
from tuitrain_planners.validation.rows import read_rows
from tuitrain_planners.validation.shapes_of_rows import NotComputableError
from tuitrain_planners.validation.throughput_rows import ThroughputRow, throughput_row

PRESETS: Final = Path(__file__).parents[1] / "presets"
FIT_SOURCES: Final = ("MPT", "INEVO", "BIGSCI", "QWEN", "MBRIDGE")
CONFIGURATION: Final = (
    "model", "params", "n_gpus", "gpu", "tp", "pp", "dp", "micro_batch", "global_batch", "seq_len", "sharding", "attention",
    "activation_checkpointing", "compile", "method", "n_heads", "vp", "grad_accum",
)  # fmt: skip
Setter = Callable[[Efficiency, float], Efficiency]


def _plain(name: str) -> Setter:
    return lambda constants, value: replace(constants, **{name: value})


def _entry(name: str, key: str) -> Setter:
    return lambda constants, value: replace(constants, **{name: {**getattr(constants, name), key: value}})


def _attention(generation: str, kernel: str) -> Setter:
    def put(constants: Efficiency, value: float) -> Efficiency:
        old = constants.generations[generation]
        changed = replace(old, attention={**old.attention, kernel: value})
        return replace(constants, generations={**constants.generations, generation: changed})

    return put


def _gemm(generation: str, *dtypes: str) -> Setter:
    def put(constants: Efficiency, value: float) -> Efficiency:
        old = constants.generations[generation]
        changed = replace(old, gemm={**old.gemm, **dict.fromkeys(dtypes, value)})
        return replace(constants, generations={**constants.generations, generation: changed})

    return put


BOUNDS: Final[dict[str, tuple[Setter, float, float, float]]] = {
    "gemm ampere": (_gemm("ampere", "bf16", "fp16"), 0.80, 0.65, 0.90),
    "gemm hopper 16": (_gemm("hopper", "bf16", "fp16"), 0.65, 0.50, 0.80),
    "gemm hopper 8": (_gemm("hopper", "fp8"), 0.72, 0.45, 0.75),
    "gemm blackwell 16": (_gemm("blackwell", "bf16", "fp16"), 0.78, 0.50, 0.80),
    "gemm blackwell 8": (_gemm("blackwell", "fp8"), 0.78, 0.45, 0.80),
    "gemm blackwell 4": (_gemm("blackwell", "fp4"), 0.75, 0.30, 0.75),
    "attention first ampere": (_attention("ampere", "first"), 0.31, 0.20, 0.50),
    "attention first hopper": (_attention("hopper", "first"), 0.18, 0.12, 0.35),
    "attention newest hopper": (_attention("hopper", "newest"), 0.65, 0.35, 0.70),
    "attention newest blackwell": (_attention("blackwell", "newest"), 0.30, 0.25, 0.70),
    "backward": (_plain("backward"), 1.1, 1.0, 1.3),
    "edge": (_plain("edge"), 150.0, 10.0, 250.0),
    "logit bytes": (_plain("logit_bytes"), 42.0, 20.0, 60.0),
    "naive bytes": (_plain("naive_bytes"), 16.0, 15.0, 40.0),
    "traffic compiled": (_entry("traffic", "compiled"), 0.5, 0.3, 0.8),
    "traffic fused": (_entry("traffic", "fused"), 0.85, 0.3, 0.9),
    "traffic eager": (_entry("traffic", "eager"), 0.9, 0.8, 1.6),
    "host eager": (_entry("host_s", "eager"), 0.7e-3, 0.3e-3, 1.2e-3),
    "host fused": (_entry("host_s", "fused"), 0.3e-3, 0.1e-3, 1e-3),
    "unpack gptq": (_entry("dequantise_bytes", "int4-gptq"), 20.0, 5.0, 40.0),
    "link": (_plain("link"), 0.78, 0.55, 0.90),
    "exposed": (_plain("exposed"), 0.22, 0.0, 0.5),
    "straggling": (_plain("straggling"), 0.011, 0.0, 0.05),
}
"""Constant: how to set it, where to start, and its bounds."""


def rows_of(path: Path, presets: Path) -> list[ThroughputRow]:
    """Complete rows that can be computed, one per run: of two metrics of one run the first."""
    found: dict[tuple[str, ...], ThroughputRow] = {}
    for row in read_rows(path).rows:
        if row.complete and row.metric in (
            "s_per_iter",
            "tokens_per_s_per_gpu",
            "tokens_per_s",
            "TFLOPS_per_gpu",
            "TFLOPS_per_gpu_hw",
        ):
            try:
                ready = throughput_row(row, presets / "models", presets / "hardware")
            except NotComputableError:
                continue
            run = (row.source, *(row.text(each) for each in CONFIGURATION), row.text("precision"))
            first = found.setdefault(run, ready)
            if first.row.metric == row.metric and first is not ready:  # the same configuration, measured again
                found[(*run, row.id)] = ready
    return list(found.values())


def errors(rows: list[ThroughputRow], constants: Efficiency) -> list[float]:
    """Log of predicted over measured."""
    return [log(each.predict(constants)[0] / (each.measured() or 1)) for each in rows]


def loss(rows: list[ThroughputRow], weights: list[float], constants: Efficiency) -> float:
    """Weighted mean absolute log error."""
    return sum(w * abs(e) for w, e in zip(weights, errors(rows, constants), strict=True)) / sum(weights)


def fit(rows: list[ThroughputRow], rounds: int = 8) -> tuple[Efficiency, dict[str, float]]:
    """Coordinate descent in the logs, with a step that halves when nothing moves."""
    sizes = {source: sum(each.row.source == source for each in rows) for source in FIT_SOURCES}
    weights = [sizes[each.row.source] ** -0.5 for each in rows]
    values = {name: start for name, (_, start, _, _) in BOUNDS.items()}
    constants = PUBLISHED
    for name, (put, start, _, _) in BOUNDS.items():
        constants = put(constants, start)
        values[name] = start
    best, step = loss(rows, weights, constants), 0.16
    for _ in range(rounds):
        for name, (put, _, low, high) in BOUNDS.items():
            for sign in (1, -1):
                moved = min(max(values[name] * exp(sign * step), low), high)
                trial = put(constants, moved)
                if (found := loss(rows, weights, trial)) < best - 1e-6:
                    best, constants, values[name] = found, trial, moved
                    break
        step /= 1.6
    return constants, values


def report(rows: list[ThroughputRow], constants: Efficiency) -> None:
    """Median error by source, fitted and held out."""
    for title, chosen in (
        ("fitted", [each for each in rows if each.row.source in FIT_SOURCES]),
        ("held out", [each for each in rows if each.row.source not in FIT_SOURCES]),
    ):
        for source in sorted({each.row.source for each in chosen}):
            of_it = [exp(each) - 1 for each in errors([each for each in chosen if each.row.source == source], constants)]
            print(f"  {source:9} {len(of_it):3}  median |error| {statistics.median(map(abs, of_it)):.1%}")
        all_of = [abs(exp(each) - 1) for each in errors(chosen, constants)]
        print(f"{title}: {len(all_of)} runs, median |error| {statistics.median(all_of):.1%}\n")


def main() -> None:
    """Fit and report."""
    rows = rows_of(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PRESETS)
    constants, values = fit([each for each in rows if each.row.source in FIT_SOURCES])
    for name, value in values.items():
        print(f"{name:28} {value:.4g}")
    report(rows, constants)
    print("as published in efficiency.py:")
    report(rows, PUBLISHED)


if __name__ == "__main__":
    main()
