"""Which share of a datasheet's figures training reaches, by cause. Every constant of the time model stands here.

Causes, and what they act on:

    generation   ceiling of large matrix products by dtype; rate of the attention kernel     peak FLOP/s
    edges        products with short sides fill the device less                              each product
    software     written-out operations move more bytes than fused ones                      memory traffic
    host         every layer and pass launches kernels, which takes the host a while         small micro-batches
    network      share of a link that collectives reach; what cannot be hidden; stragglers   several devices

Constants are fitted to published runs once, for all runs together and never per run: `benchmarks/fit_throughput.py` names the
sources it fits and those it holds out, and planners/README.md gives the error on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tuitrain_planners.hardware import Hardware

FIT: Final = (
    "measured: fitted to 252 published runs of llm-foundry, InternEvo, BigScience, Qwen and Megatron-Bridge; 47 runs of 12 "
    "other sources were held out"
)
SOFTWARE: Final = ("eager", "compiled", "fused")
"""eager: one kernel per operation; compiled: torch.compile; fused: kernels fused by hand (Megatron-Core, TransformerEngine)."""


KERNELS: Final = ("first", "second", "newest")
"""Fused attention: FlashAttention and its Triton port (Dao et al. 2022); FlashAttention-2, which torch runs (Dao 2023,
https://arxiv.org/abs/2307.08691); the vendor's own and FlashAttention-3 (Shah et al. 2024)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What one generation of devices reaches of its peaks."""

    name: str
    power_w: float | None
    """Power limit of the devices the shares were found on: one that may draw less clocks lower. None: not told apart."""
    gemm: Mapping[str, float]
    """Ceiling of large matrix products by dtype, as a share of the dense peak."""
    attention: Mapping[str, float]
    """Share of the 16-bit peak that a fused attention kernel reaches on the products it computes, by `KERNELS`."""
    source: str

    def clock(self, power_w: float | None) -> float:
        """Clock under a power limit, relative to that of the devices measured: power goes with frequency times voltage
        squared, so roughly with the cube of the clock."""
        if self.power_w is None or power_w is None:
            return 1.0
        return min(1.0, float((power_w / self.power_w) ** (1 / 3)))


def _kernels(*shares: float) -> Mapping[str, float]:
    return MappingProxyType(dict(zip(KERNELS, shares, strict=True)))


def _gemm(**shares: float) -> Mapping[str, float]:
    return MappingProxyType(shares)


GENERATIONS: Final[Mapping[str, Generation]] = MappingProxyType({
    "ampere": Generation(
        name="ampere", power_w=400, gemm=_gemm(bf16=0.80, fp16=0.80, tf32=0.75, fp32=0.85),
        attention=_kernels(0.31, 0.50, 0.50), source=FIT,
    ),
    "hopper": Generation(
        name="hopper", power_w=700, gemm=_gemm(bf16=0.65, fp16=0.65, fp8=0.72, tf32=0.6, fp32=0.8),
        attention=_kernels(0.18, 0.28, 0.65), source=FIT,
    ),
    "blackwell": Generation(
        name="blackwell", power_w=1000, gemm=_gemm(bf16=0.78, fp16=0.78, fp8=0.78, fp4=0.75, tf32=0.6, fp32=0.8),
        attention=_kernels(0.15, 0.20, 0.30), source=FIT,
    ),
    "ada": Generation(
        name="ada", power_w=None, gemm=_gemm(bf16=0.90, fp16=0.90, fp8=0.8, tf32=0.9, fp32=0.8),
        attention=_kernels(0.40, 0.50, 0.50),
        source="assumption: consumer devices run above the clock their peak is quoted at; two runs of torchtune agree",
    ),
    "h20": Generation(
        name="h20", power_w=None, gemm=_gemm(bf16=0.90, fp16=0.90, fp8=0.85, tf32=0.9, fp32=0.8),
        attention=_kernels(0.40, 0.60, 0.70),
        source="assumption: with few units and much power and bandwidth for them, most of the peak is reached",
    ),
    "other": Generation(
        name="other", power_w=None, gemm=_gemm(bf16=0.7, fp16=0.7, fp8=0.7, fp4=0.6, tf32=0.65, fp32=0.8),
        attention=_kernels(0.25, 0.33, 0.45),
        source="assumption: between the generations that runs were published for",
    ),
})  # fmt: skip
"""Rates of the second kernel are not fitted: 0.50 and 0.28 of the peak lie below the best points of the FlashAttention-2 paper
(230 of 312 TFLOP/s forward on an A100, 335 of 989 forward and backward on an H100)."""

_GENERATION_OF: Final = {
    "a10": "ampere", "a10g": "ampere", "a40": "ampere", "a100": "ampere", "a800": "ampere", "rtx-a6000": "ampere",
    "rtx-30": "ampere", "h100": "hopper", "h200": "hopper", "h800": "hopper", "gh200": "hopper", "h20": "h20",
    "l4": "ada", "l40s": "ada", "rtx-40": "ada", "rtx-6000-ada": "ada",
    "b200": "blackwell", "gb200": "blackwell", "b300": "blackwell", "gb300": "blackwell",
}  # fmt: skip
"""Generation by the first part of a preset's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """The constants that do not depend on the device."""

    generations: Mapping[str, Generation] = field(default_factory=lambda: GENERATIONS)
    backward: float = 1.11
    """How many times as long a product of backward takes as the same of forward: transposed operands, sums into gradients."""
    edge: float = 150.0
    """Elements lost at the edges: a product of sides m, n, k takes 1 + edge (1/m + 1/n + 1/k) times as long as its FLOP say."""
    bandwidth: float = 0.80
    """Share of the memory bandwidth that elementwise kernels reach."""
    traffic: Mapping[str, float] = field(default_factory=lambda: {"eager": 0.9, "compiled": 0.5, "fused": 0.85})
    """Bytes moved by elementwise work, relative to one kernel per operation."""
    logit_bytes: float = 42.0
    """Bytes moved per logit by an unfused cross-entropy, forward and backward."""
    host_s: Mapping[str, float] = field(default_factory=lambda: {"eager": 0.7e-3, "compiled": 0.2e-3, "fused": 0.3e-3})
    """Seconds the host takes to launch one pass of one layer."""
    adapter_host: float = 2.5
    """How many times as long with adapters beside every matrix."""
    naive_bytes: float = 16.0
    """Bytes moved per attention score, forward and backward, where scores are written out."""
    link: float = 0.78
    """Share of a link's bandwidth that collectives reach."""
    latency_s: float = 15e-6
    """Seconds one collective of a tensor-parallel group takes before its first byte."""
    exposed: float = 0.22
    """Share of overlapped communication that costs time all the same."""
    straggling: float = 0.011
    """Spread of step times between machines, as a share: a step waits for the slowest."""
    dequantise_bytes: Mapping[str, float] = field(
        default_factory=lambda: {"int4-gptq": 20.0, "int8": 5.0, "nf4": 4.6, "nf4-dq": 4.6}
    )
    """Bytes moved to unpack one frozen weight, each pass."""

    def generation(self, hardware: Hardware) -> Generation:
        """Of a device, by the name of its preset."""
        return self.generations[generation_name(hardware)]


def generation_name(hardware: Hardware) -> str:
    """`other` where no runs were published."""
    name = hardware.name.lower()
    first = name.split("-")[0]
    if first in _GENERATION_OF:
        return _GENERATION_OF[first]
    return next((each for prefix, each in _GENERATION_OF.items() if "-" in prefix and name.startswith(prefix)), "other")


PUBLISHED: Final = Efficiency()
"""The constants as fitted."""
