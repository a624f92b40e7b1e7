"""`tuitrain plan --gpu rtx-4090 --method qlora`: which of the presets can be fine-tuned on this device, and how fast?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuitrain.cli.plan_asked import Asked
from tuitrain.cli.plan_request import hardware_of, request_for

if TYPE_CHECKING:
    from tuitrain_planners import Hardware, ModelShape, Plan

TUNED_TOKENS: Final = 1e7
"""Length of a run that is asked for without one: some ten thousand examples."""


def presets_that_fit(asked: Asked) -> int:
    """One row a preset that fits, largest first; how many do not is told below. Exit 3 when none does."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_json, show_table
    from tuitrain.errors import EXIT_DOES_NOT_FIT, EXIT_OK, UsageError
    from tuitrain_planners import format_bytes, format_count, format_value, to_dict

    if asked.explain or asked.markdown or asked.html or asked.simulate:
        raise UsageError("a list of models is shown as a table, or as JSON with --json", "name a MODEL for one model's plan")
    hardware = hardware_of(asked)
    plans = sorted(_plans(asked, hardware), key=lambda each: -each.parameters.value)
    fitting = [each for each in plans if each.memory.verdict != "oom"]
    if asked.as_json:
        show_json([to_dict(each) for each in fitting])
        return EXIT_OK if fitting else EXIT_DOES_NOT_FIT
    if not fitting:
        smallest = plans[-1]
        need = format_bytes(smallest.memory.device_bytes.mid.value)
        say(f"none of {len(plans)} presets fits; the smallest, {smallest.request.shape.name}, needs {need}")
        return EXIT_DOES_NOT_FIT
    rows = [
        [
            each.request.shape.name,
            format_count(each.parameters.value),
            format_bytes(each.memory.device_bytes.mid.value),
            each.memory.verdict,
            format_value(each.throughput.tokens_per_s.value, "tokens/s"),
            _length(each, asked),
        ]
        for each in fitting
    ]
    last = f"in {asked.hours:g} h" if asked.hours is not None else "10M tokens"
    show_table(["model", "parameters", "memory", "", "speed", last], rows, right=(1, 2, 4, 5))
    first, named = fitting[0].request, hardware.title or hardware.name
    show(
        f"\n{asked.method} on {named} ({format_bytes(hardware.memory_bytes)}): {len(fitting)} of {len(plans)} presets fit, at "
        f"sequence {first.seq_len} x micro-batch {first.micro_batch}, recompute {first.recompute}, "
        f"loss head {first.loss_head}\n"
        f"show one: tuitrain plan {first.shape.name} --gpu {hardware.name} --method {asked.method}"
    )
    return EXIT_OK


def _length(planned: Plan, asked: Asked) -> str:
    from tuitrain_planners import format_count, format_duration

    if asked.hours is None:
        return format_duration(TUNED_TOKENS / planned.throughput.tokens_per_s.value)
    return f"{format_count(planned.throughput.tokens_per_s.value * asked.hours * 3600)} tokens"


def _plans(asked: Asked, hardware: Hardware) -> list[Plan]:
    """Of every preset whose sizes allow the sequence and the layout that were asked for."""
    from dataclasses import replace

    from tuitrain_planners import PlanError, plan

    plans = []
    for shape in _shapes():
        try:
            request = request_for(asked, shape, hardware)
        except PlanError as error:
            if "exceeds" in error.message or "divide" in error.message:
                continue
            raise
        plans.append(plan(replace(request, tokens=request.tokens or TUNED_TOKENS)))
    return plans


def _shapes() -> list[ModelShape]:
    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import find_shape, preset_names

    folder = presets_dir() / "models"
    return [find_shape(folder, name) for name in preset_names(folder)]
