"""Budgets of `tuitrain plan`: compute, device hours or money, turned into the length of a run or into the model that suits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tuitrain.cli.plan_input import MOST_TOKENS, count_within, refuse_not_within

if TYPE_CHECKING:
    from tuitrain.cli.plan_asked import Asked
    from tuitrain_planners import Hardware, ModelShape

MOST_FLOP: Final = 1e30
BUDGETS: Final = ("hours", "gpu_hours", "usd", "flop", "tokens", "steps")


def refuse_two_budgets(asked: Asked) -> None:
    """One thing sets the length of a run."""
    from tuitrain.errors import UsageError

    given = [f"--{name.replace('_', '-')}" for name in BUDGETS if getattr(asked, name, None) is not None]
    if len(given) > 1:
        raise UsageError(f"both {given[0]} and {given[1]} set the length", "give one of them")
    for name in ("gpu_hours", "usd"):
        if (value := getattr(asked, name)) is not None:
            refuse_not_within(f"--{name.replace('_', '-')}", value, 1e12)
            if value <= 0:
                raise UsageError(f"--{name.replace('_', '-')} {value:g}", "a positive amount")


def hours_of(asked: Asked, hardware: Hardware) -> float | None:
    """Wall-clock hours that were asked for, or that device hours or money pay; None when something else sets the length."""
    from tuitrain.errors import UsageError

    if asked.gpu_hours is not None:
        return asked.gpu_hours / asked.gpus
    if asked.usd is None:
        return asked.hours
    price = asked.price if asked.price is not None else _price(hardware, spot=asked.spot)
    if price is None or price <= 0:
        raise UsageError(f"no price is known for {hardware.name}", "--price USD_PER_HOUR")
    return asked.usd / price / asked.gpus


def _price(hardware: Hardware, *, spot: bool) -> float | None:
    from tuitrain_planners.hardware import price_band

    listed = hardware.spot_usd_per_hour if spot else hardware.price_usd_per_hour
    return None if listed is None else price_band(listed)[1]


def tokens_of(asked: Asked, shape: ModelShape) -> float | None:
    """Tokens that were asked for, or that a compute budget pays for this model (C = 6 N D)."""
    from tuitrain_planners import flop_per_token, parse_flop

    if asked.tokens is not None:
        return count_within("--tokens", asked.tokens, MOST_TOKENS)
    if asked.flop is None:
        return None
    return max(1.0, _flop(parse_flop(asked.flop)) / flop_per_token(shape, 1, "6n").value)


def model_of(asked: Asked) -> tuple[ModelShape, float, tuple[str, ...]] | None:
    """(model, tokens, why) that suit a compute budget or a number of tokens; None when neither was given."""
    from tuitrain_planners import by_parameters, compute_optimal, format_count, loss_law, model_for_tokens, parse_flop

    law = loss_law(asked.law)
    if asked.flop is not None:
        n, d = compute_optimal(law, _flop(parse_flop(asked.flop)))
        parameters, tokens, what = n.value, d.value, f"{asked.flop} FLOP"
    elif asked.tokens is not None:
        tokens = count_within("--tokens", asked.tokens, MOST_TOKENS)
        parameters, what = model_for_tokens(law, tokens).value, f"{asked.tokens} tokens"
    else:
        return None
    shape = by_parameters(parameters)
    reason = f"{law.name}: {what} suit {format_count(parameters)} parameters and {format_count(tokens)} tokens"
    if asked.flop is not None:
        tokens = tokens_of(asked, shape) or tokens  # the shape is a near one, and the compute is what was asked for
    return replace(shape, max_seq_len=max(shape.max_seq_len, asked.seq or 0)), tokens, (reason,)


def _flop(value: float) -> float:
    from tuitrain.errors import UsageError

    if not 0 < value <= MOST_FLOP:
        raise UsageError(f"--flop {value:g}", f"a positive number up to {MOST_FLOP:g}")
    return value
