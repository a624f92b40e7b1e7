"""Seconds one micro-batch spends in one layer and in the head: matrix products, attention, elementwise work.

    products      passes x 2 m n k (1 + edge (1/m + 1/n + 1/k)) / (peak x ceiling); passes: forward, two of backward (one where
                  the matrix is frozen), and what recomputation repeats
    attention     fused: the causal half of the scores, backward 2.5 x forward (it forms the scores again; Dao et al. 2022,
                  appendix B); written out: the whole square, and the traffic of its softmax
    elementwise   bytes read and written by norms, residuals, rotations and activations / bandwidth

m is the tokens of the micro-batch; n and k are sides of the weight matrix, cut by tensor parallelism on one side. Validity:
kernels are launched in time (`step_time` compares with the host), experts are loaded evenly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tuitrain_planners.efficiency import Efficiency
from tuitrain_planners.errors import PlanError
from tuitrain_planners.precision import precision_hint
from tuitrain_planners.quantity import Quantity, derived, given, total
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.workload import Workload

FLASH_BACKWARD: Final = 2.5
"""Backward of a fused attention kernel over its forward: five products against two."""
_PRODUCT: Final = "passes * 2 * m * n * k * (1 + edge * (1 / rows + 1 / n + 1 / k)) / (peak * ceiling)"


@dataclass(frozen=True, slots=True)
class Product:
    """One weight matrix of a layer, as the device holds it."""

    name: str
    n: float
    k: float
    visits: float = 1.0
    """Tokens that pass through it, per token of the micro-batch: routed experts together see `per_token`."""
    matrices: int = 1
    """Over how many equal matrices those tokens are spread."""


def products(shape: ModelShape, tp: int, *, experts: bool) -> Iterator[Product]:
    """Weight matrices of one layer, dense or with experts, cut by `tp`."""
    h, q = shape.hidden_size, shape.query_size
    if (latent := shape.latent) is not None:
        key = latent.nope_head_dim + latent.rope_head_dim
        if latent.q_rank is not None:
            yield Product("queries down", latent.q_rank, h)
        yield Product("queries", shape.num_heads * key / tp, latent.q_rank or h)
        yield Product("keys and values down", latent.kv_rank + latent.rope_head_dim, h)
        yield Product("keys and values", shape.num_heads * (latent.nope_head_dim + latent.value_head_dim) / tp, latent.kv_rank)
        q = shape.num_heads * latent.value_head_dim
    else:
        yield Product("queries", q / tp, h)
        yield Product("keys and values", 2 * max(shape.kv_size / tp, shape.head_dim), h)
    yield Product("attention output", h, q / tp)
    ups = 2 if shape.gated_ffn else 1
    if experts and (moe := shape.experts) is not None:
        yield Product("experts, up", ups * moe.ffn_size / tp, h, moe.per_token, moe.num)
        yield Product("experts, down", h, moe.ffn_size / tp, moe.per_token, moe.num)
        if moe.shared_ffn_size:
            yield Product("shared experts, up", ups * moe.shared_ffn_size / tp, h)
            yield Product("shared experts, down", h, moe.shared_ffn_size / tp)
        return
    yield Product("ffn, up", ups * shape.ffn_size / tp, h)
    yield Product("ffn, down", h, shape.ffn_size / tp)


class LayerTime:
    """Times of one workload under given constants; what they share is looked up once."""

    def __init__(self, work: Workload, constants: Efficiency) -> None:
        self.work, self.constants = work, constants
        self.generation = constants.generation(work.hardware)
        self.bandwidth = self._bandwidth()
        self.edge = given("elements lost per edge", constants.edge, "", self.generation.source)
        self._rates: dict[str, tuple[Quantity, Quantity]] = {}

    def rate(self, dtype: str) -> tuple[Quantity, Quantity]:
        """Peak of a dtype and the ceiling of its products."""
        if dtype not in self._rates:
            hardware, ceilings = self.work.hardware, self.generation.gemm
            peak = hardware.peak(dtype)
            if peak is None or dtype not in ceilings:
                raise PlanError(
                    f"{hardware.name} has neither a measured training rate nor a {dtype} peak that training is known to reach",
                    precision_hint(hardware.peak_flop_per_s),
                )
            name = f"share of the {dtype} peak that large products reach, {self.generation.name}"
            ceiling = given(name, ceilings[dtype], "", self.generation.source)
            self._rates[dtype] = peak, self._at_power(ceiling)
        return self._rates[dtype]

    def _at_power(self, share: Quantity) -> Quantity:
        """A share of the peak, less where the device may draw less power than those it was found on."""
        power, usual = self.work.hardware.power_w, self.generation.power_w
        clock = self.generation.clock(power)
        if clock == 1 or power is None or usual is None:
            return share
        return derived(
            f"{share.name}, at its power limit", share.value * clock, "", "share * (power / usual) ** (1 / 3)",
            "assumption: power goes with the cube of the clock", share=share, power=power, usual=usual,
        )  # fmt: skip

    def _bandwidth(self) -> Quantity:
        hardware = self.work.hardware
        assert hardware.memory_bandwidth_bytes_per_s is not None, "the caller chooses this model for devices with a bandwidth"
        raw = given(f"memory bandwidth of {hardware.name}", hardware.memory_bandwidth_bytes_per_s, "bytes/s", hardware.source)
        share = given("share of it that elementwise kernels reach", self.constants.bandwidth, "", self.generation.source)
        return derived("bandwidth reached", raw.value * share.value, "bytes/s", "bandwidth * share", bandwidth=raw, share=share)

    def layer(self, *, experts: bool) -> Quantity:
        """One layer, forward and backward."""
        parts = [self._product(each) for each in products(self.work.shape, self.work.mesh.tp, experts=experts)]
        parts += [self.attention(), self.elementwise(experts=experts)]
        return total("one layer with experts" if experts else "one layer", parts)

    def head(self) -> Quantity:
        """Output product and cross-entropy."""
        shape, tp = self.work.shape, self.work.mesh.tp
        product = self._product(Product("head", shape.vocab_size / tp, shape.hidden_size), self.work.wide_dtype, layer=False)
        factor = self.constants.traffic[self.work.software]
        value = self.work.tokens * shape.vocab_size / tp * self.constants.logit_bytes * factor / self.bandwidth.value
        loss = derived(
            "cross-entropy", value, "s", "m * V / tp * bytes * fusing / bandwidth",
            m=self.work.tokens, V=shape.vocab_size, tp=tp, bytes=self.constants.logit_bytes, fusing=factor,
            bandwidth=self.bandwidth,
        )  # fmt: skip
        return total("head", (product, loss))

    def _product(self, each: Product, dtype: str | None = None, *, layer: bool = True) -> Quantity:
        work = self.work
        peak, ceiling = self.rate(dtype or work.product_dtype)
        # Forward, what is repeated of it, and one or two products of backward: a frozen matrix has no gradient.
        passes = 1 + (work.again if layer else 0) + (1 if work.adapter is not None else 2) * self.constants.backward
        m = work.tokens * each.visits
        rows = m * (work.mesh.ep if each.matrices > 1 else 1) / each.matrices
        edges = self.edge.value * (1 / max(rows, 1) + 1 / each.n + 1 / each.k)
        value = passes * 2 * m * each.n * each.k * (1 + edges) / (peak.value * ceiling.value)
        return derived(
            each.name, value, "s", _PRODUCT, passes=passes, m=m, n=each.n, k=each.k, edge=self.edge, rows=max(rows, 1),
            peak=peak, ceiling=ceiling,
        )  # fmt: skip

    def attention(self) -> Quantity:
        """Scores and their product with the values."""
        work, shape = self.work, self.work.shape
        peak, ceiling = self.rate(work.wide_dtype)
        width = shape.query_size
        if (latent := shape.latent) is not None:
            width = shape.num_heads * (latent.nope_head_dim + latent.rope_head_dim + latent.value_head_dim) // 2
        inputs: dict[str, Quantity | float] = {"m": work.tokens, "w": width, "tp": work.mesh.tp}
        again = max(work.attention_again, 0.0)
        if work.attention == "flash":
            seen, passes = self._seen(), 1 + FLASH_BACKWARD + again
            name = f"share of the peak that fused attention reaches, {self.generation.name}, {work.kernel} kernel"
            share = self._at_power(given(name, self.generation.attention[work.kernel], "", self.generation.source))
            value = passes * 4 * work.tokens * seen.value * width / work.mesh.tp / (peak.value * share.value)
            formula = "passes * 4 * m * seen * w / tp / (peak * share)"
            return derived(
                "attention", value, "s", formula, "flash2022", passes=passes, seen=seen, peak=peak, share=share, **inputs
            )
        # Written out: short products of depth d, and bytes that pass through memory for every score.
        passes, d, s = 3 + again, shape.head_dim, work.seq_len
        edges = 1 + self.edge.value * (2 / s + 1 / d)
        flop_s = passes * 4 * work.tokens * s * width / work.mesh.tp * edges / (peak.value * ceiling.value)
        factor = self.constants.naive_bytes * passes / 3
        bytes_s = work.tokens * s * shape.num_heads / work.mesh.tp * factor / self.bandwidth.value
        return derived(
            "attention, scores written out", flop_s + bytes_s, "s",
            "passes * 4 * m * s * w / tp * (1 + edge * (2 / s + 1 / d)) / (peak * ceiling)"
            " + m * s * a / tp * bytes * passes / 3 / bandwidth",
            passes=passes, s=s, d=d, a=shape.num_heads, edge=self.edge, peak=peak, ceiling=ceiling,
            bytes=self.constants.naive_bytes, bandwidth=self.bandwidth, **inputs,
        )  # fmt: skip

    def _seen(self) -> Quantity:
        """Tokens each token attends to, on average over positions and layers."""
        s, window = self.work.seq_len, self.work.shape.window
        if window is None or window.size >= s:
            return derived("tokens attended to", s / 2, "tokens", "s / 2", s=s)
        w, share = window.size, window.num_layers / self.work.shape.num_layers
        value = share * (w - w * w / (2 * s)) + (1 - share) * s / 2
        return derived(
            "tokens attended to", value, "tokens", "share * (w - w * w / (2 * s)) + (1 - share) * s / 2", s=s, w=w, share=share
        )

    def elementwise(self, *, experts: bool) -> Quantity:
        """Norms, residuals, rotations, activations; adapters' copies; in 8-bit recipes the casts as well."""
        work, mesh = self.work, self.work.mesh
        outside, inside = moved_elements(work, experts=experts)
        passes = 3 + (work.again if work.elementwise_again is None else work.elementwise_again)
        factor = self.constants.traffic[work.software]
        casts = cast_bytes(work, experts=experts)
        moved = passes * work.precision.compute_bytes * (outside / mesh.sequence_cut + inside / mesh.tp) + casts
        return derived(
            "elementwise", work.tokens * factor * moved / self.bandwidth.value, "s",
            "m * fusing * (passes * c * (outside / sp + inside / tp) + casts) / bandwidth",
            m=work.tokens, passes=passes, c=work.precision.compute_bytes, fusing=factor, outside=outside,
            sp=mesh.sequence_cut, inside=inside, tp=mesh.tp, casts=casts, bandwidth=self.bandwidth,
        )  # fmt: skip


def moved_elements(work: Workload, *, experts: bool) -> tuple[float, float]:
    """(elements of the residual stream, elements inside the blocks) that elementwise work of one forward reads and writes per
    token and layer, one kernel per operation. An RMSNorm or a rotation written out in Python is a dozen kernels."""
    shape, h = work.shape, work.shape.hidden_size
    moe = shape.experts if experts else None
    f = shape.ffn_size if moe is None else moe.ffn_size * moe.per_token + moe.shared_ffn_size
    qk = shape.query_size + shape.kv_size
    written_out = work.software == "eager"
    norm = 18 if written_out and not shape.layer_norm else 2
    outside = (norm * shape.norms_per_layer + 6) * h
    rotated = 0 if shape.architecture == "gpt2" else qk
    inside = (12 if written_out else 2) * rotated + (5 if shape.gated_ffn else 2) * f
    if shape.qk_norm or shape.wide_qk_norm:
        inside += norm * qk
    if moe is not None:  # tokens are copied to their experts and back
        outside += 4 * moe.per_token * h
    if work.adapter is not None:
        for read, written in adapted_sides(shape, work.adapter.targets):  # dropout, two products, scaling, sum
            inside += 4 * read + 6 * written
    return outside, inside


def adapted_sides(shape: ModelShape, targets: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(input, output) width of every adapted matrix of a layer."""
    h, q, kv, f = shape.hidden_size, shape.query_size, shape.kv_size, shape.ffn_size
    sides = {"q": (h, q), "k": (h, kv), "v": (h, kv), "o": (q, h), "gate": (h, f), "up": (h, f), "down": (f, h)}
    for target in targets:
        if target in sides and (shape.gated_ffn or target != "gate"):
            yield sides[target]


def cast_bytes(work: Workload, *, experts: bool) -> float:
    """Bytes per token and layer of casting inputs and output gradients of every product: read wide, written narrow twice."""
    if work.product_dtype not in ("fp8", "fp4"):
        return 0.0
    shape = work.shape
    moe = shape.experts if experts else None
    f = shape.ffn_size if moe is None else moe.ffn_size * moe.per_token + moe.shared_ffn_size
    return (3 * shape.hidden_size + 2 * (shape.query_size + shape.kv_size) + 3 * f) * 4 / work.mesh.tp
