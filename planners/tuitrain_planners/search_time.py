"""Step times of many layouts of one request: the plan's own figure for the few that matter, a bound from below for the rest.

The bound is what computing takes when nothing is waited for: of a device whose speed is modelled, a micro-batch on one stage
spread evenly over the pipeline, and the bubble of its products; of one with a known rate, FLOP / rate. Every layout has one
from a table of the few things it depends on, and only layouts whose bound is below the best found are asked for their time.

Slow twin: `layout_step_s`; no bound exceeds it on random layouts (tests/unit/planners/test_search_memory.py).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Final, NamedTuple

from tuitrain_planners.efficiency import PUBLISHED
from tuitrain_planners.layer_time import LayerTime
from tuitrain_planners.precision import recipe
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.search_layouts import Layout
from tuitrain_planners.step_time import step_time
from tuitrain_planners.throughput import executed_flop, is_modelled, step_seconds, training_rate, workload

ROUNDING: Final = 1 - 1e-9
"""Bounds are a little lower than computed: other orders of summing may round otherwise."""


def layout_step_s(request: PlanRequest) -> float:
    """Seconds of one optimizer step, as the plan says."""
    return step_seconds(request).value


class _Alone(NamedTuple):
    """Seconds of a micro-batch without a pipeline."""

    micro_batch: float
    products: float


class TimeTable:
    """Step times of layouts of one request."""

    def __init__(self, request: PlanRequest) -> None:
        self.request = request
        self.asked = 0
        """Layouts whose step time was computed in full."""
        self._times: dict[Hashable, float] = {}
        self._alone: dict[Hashable, _Alone] = {}
        self._computing: dict[Hashable, float] = {}

    def step_s(self, layout: Layout) -> float:
        """Seconds of one step. The loss head takes no part in it."""
        key = layout._replace(loss_head="")
        if (found := self._times.get(key)) is None:
            self.asked += 1
            found = self._times[key] = layout_step_s(layout.of(self.request))
        return found

    def at_least_s(self, layout: Layout) -> float:
        """Seconds one step takes if nothing is waited for."""
        if not is_modelled(self.request.hardware, recipe(layout.precision)):
            return self._computing_s(layout)
        mesh, m = layout.mesh, layout.grad_accum
        alone = self._alone_of(layout)
        bubble = (mesh.pp - 1) / mesh.vp * alone.products
        return (m * alone.micro_batch + bubble) / mesh.pp * ROUNDING

    def _alone_of(self, layout: Layout) -> _Alone:
        mesh = layout.mesh
        key = (mesh.tp, mesh.cp, mesh.ep, layout.micro_batch, layout.precision, layout.recompute)
        if (found := self._alone.get(key)) is None:
            whole = replace(mesh, dp=mesh.dp * mesh.pp, pp=1, vp=1, schedule="1f1b")
            work = workload(layout._replace(mesh=whole, zero=0).of(replace(self.request, shard_group=None)))
            times, shape = LayerTime(work, PUBLISHED), self.request.shape
            moe = shape.num_moe_layers
            products = times.head().value
            products += moe * times.layer(experts=True).value if moe else 0
            products += (shape.num_layers - moe) * times.layer(experts=False).value if moe < shape.num_layers else 0
            found = self._alone[key] = _Alone(micro_batch=step_time(work).micro_batch_s.value, products=products)
        return found

    def _computing_s(self, layout: Layout) -> float:
        """FLOP / rate: all devices compute."""
        key = (layout.precision, layout.recompute)
        if (found := self._computing.get(key)) is None:
            request = layout.of(self.request)
            rate = training_rate(
                request.hardware, request.shape.hidden_size, recipe(layout.precision), compiled=request.compiled
            )
            flop = executed_flop(request, rate.convention)
            share = request.tokens_per_step().value / request.mesh.devices
            found = self._computing[key] = flop.value * share / rate.band.mid.value * ROUNDING
        return found
