"""What was typed after `tuitrain plan`, by the names of the options; and what of it contradicts itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tuitrain.cli.plan_budget import refuse_two_budgets
from tuitrain.cli.plan_input import MOST_HOURS, MOST_USD, refuse_count, refuse_not_within

if TYPE_CHECKING:
    import typer

OF_A_CONFIG: Final = {"model", "overrides", "gpu", "explain", "simulate", "as_json", "markdown", "html"}
"""What `plan CONFIG.toml` reads; everything else stands in the file."""
OF_ADAPTERS: Final = {"rank", "targets", "base", "dropout", "adapter_bits"}
"""Options that mean something with adapters only."""
FINDING: Final = ("hours", "gpu_hours", "usd", "flop", "tokens")
"""Budgets that find a model when none is named."""
METHODS: Final = ("full", "lora", "qlora")
STAGES: Final = ("pretrain", "sft", "dpo")
COUNTS: Final = ("global_batch", "gpus", "tp", "pp", "vp", "cp", "ep", "seq", "micro_batch", "accum", "rank", "shard_group")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What was typed; names are those of the options."""

    model: str | None
    overrides: list[str] | None
    gpu: str | None
    memory: str | None
    params: str | None
    hours: float | None
    gpu_hours: float | None
    usd: float | None
    flop: str | None
    gpus: int
    tp: int
    pp: int
    vp: int
    cp: int
    ep: int
    sequence_parallel: bool
    gpipe: bool
    shard_group: int | None
    offload: str
    no_sync: bool
    zero: str
    reshard: bool
    framework: str
    method: str
    rank: int
    targets: str
    base: str | None
    dropout: bool
    adapter_bits: int
    stage: str
    imbalance: float
    seq: int | None
    micro_batch: int
    accum: int
    precision: str
    optimizer: str
    recompute: str
    attention: str
    step_in_backward: bool
    loss: str | None
    tokens: str | None
    law: str
    price: float | None
    kwh_price: float | None
    purchase: float | None
    spot: bool
    embodied: bool
    country: str
    explain: str | None
    simulate: bool
    fit: bool
    global_batch: int | None
    batch_tokens: str | None
    as_json: bool
    markdown: bool
    html: bool

    @property
    def names_no_model(self) -> bool:
        """Whether the question is which model."""
        return self.model is None and self.params is None


def refuse_contradictions(context: typer.Context, asked: Asked) -> None:
    """What was typed and would do nothing, or twice the same, or is no number, is an error."""
    from tuitrain.errors import UsageError

    given = given_of(context)
    if asked.model is not None and asked.params is not None:
        raise UsageError(f"both {asked.model} and --params {asked.params} name a model", "give one of them")
    if asked.names_no_model and asked.method == "full" and not any(getattr(asked, each) is not None for each in FINDING):
        raise UsageError(
            "plan needs a MODEL, --params SIZE, or a budget to find one (--hours, --gpu-hours, --usd, --flop, --tokens)",
            "tuitrain plan llama-3-8b --gpu h100-80gb",
        )
    if asked.hours is not None and asked.hours <= 0:
        raise UsageError(f"--hours {asked.hours:g}", "a positive time")
    if asked.zero == "all" and asked.names_no_model:
        raise UsageError(
            "--zero all chooses a stage for a MODEL, and there is none", "--zero 3 finds what ZeRO-3 makes room for"
        )
    refuse_two_budgets(asked)
    of_config = asked.model is not None and asked.model.endswith(".toml")
    if of_config and (extra := given - OF_A_CONFIG):
        raise UsageError(f"{_options(extra)} and a CONFIG.toml", "set it in the file, or as SECTION.KEY=VALUE")
    if asked.overrides and not of_config:
        raise UsageError(
            f"overrides {' '.join(asked.overrides)} without a CONFIG.toml", "options set what a preset's plan depends on"
        )
    if asked.method == "full" and (extra := given & OF_ADAPTERS):
        raise UsageError(f"{_options(extra)} without adapters", "--method lora or --method qlora")
    if asked.gpipe and asked.pp == 1:
        raise UsageError("--gpipe without a pipeline", "--pp 2 or more")
    for name in COUNTS:
        refuse_count(f"--{name.replace('_', '-')}", getattr(asked, name))
    refuse_not_within("--hours", asked.hours, MOST_HOURS)
    refuse_not_within("--price", asked.price, MOST_USD)
    refuse_not_within("--kwh-price", asked.kwh_price, MOST_USD)


def given_of(context: typer.Context) -> set[str]:
    """Names of the parameters that were typed, not left at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _options(names: set[str]) -> str:
    return ", ".join(f"--{each.replace('_', '-')}" for each in sorted(names))
