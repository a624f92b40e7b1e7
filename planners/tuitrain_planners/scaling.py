"""Scaling questions as quantities: how many tokens, how large a model, which loss, what repeated data is worth.

The laws and their constants are in `laws`.
"""

from __future__ import annotations

import math
from typing import Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.laws import FITS, Fit, LossLaw
from tuitrain_planners.quantity import Band, Quantity, derived, given, total

REPETITION_DECAY: Final = 15.387756
"""R*_D of Muennighoff et al. (2023), Appendix A: after this many repetitions one more is worth 1/e of fresh data."""
REPETITIONS_TRUSTED: Final = 60.0
"""Beyond this many epochs the repetition formula was not fitted well: models there get worse, the formula only saturates."""
UNDER_TRAINED: Final = 0.5
OVER_TRAINED: Final = 2.0
"""Share of the optimal tokens below and above which the verdict changes."""


def optimal_tokens(law: Fit, parameters: float) -> Quantity:
    """Data for which N parameters are the best use of the compute, by one fit. Unit: the law's (tokens for published fits)."""
    unit = law.data_unit if isinstance(law, LossLaw) else "tokens"
    name, value = f"optimal {unit} ({law.name})", law.optimal_data(parameters)
    if isinstance(law, LossLaw):
        formula = "(beta * b / (alpha * a) * N ** alpha) ** (1 / beta)"
        inputs = {"a": law.a, "b": law.b, "alpha": law.alpha, "beta": law.beta, "N": parameters}
        return derived(name, value, unit, formula, law.source, **inputs)
    inputs = {"c": law.log10_scale, "m": law.exponent, "N": parameters}
    return derived(name, value, unit, "10 ** c * N ** m", law.source, **inputs)


def optimal_band(law: Fit, parameters: float) -> Band:
    """Optimal tokens, one standard error of the exponent either way; no width where the fit states no error.

    N_opt ~ C^a means D_opt ~ N^((1 - a) / a), so an error of a tilts the line by error / a^2, about the middle (in logarithms)
    of the models the law was fitted to. The level there is the fit's own and is not widened.
    """
    mid = optimal_tokens(law, parameters)
    if not isinstance(law, LossLaw) or law.size_exponent is None:
        return Band(low=mid, mid=mid, high=mid)
    (a, error), (small, large) = law.size_exponent, law.fitted_parameters
    pivot = math.sqrt(small * large)
    tilt = error / a**2 * abs(math.log(parameters / pivot))

    def end(name: str, sign: int) -> Quantity:
        mark = "+" if sign > 0 else "-"
        formula = f"D * exp({mark}error / a ** 2 * max(log(N / pivot), -log(N / pivot)))"
        inputs: dict[str, Quantity | float] = {"D": mid, "a": a, "error": error, "N": parameters, "pivot": pivot}
        return derived(f"{mid.name}, {name}", mid.value * math.exp(sign * tilt), mid.unit, formula, law.source, **inputs)

    return Band(low=end("low", -1), mid=mid, high=end("high", 1))


def model_for_tokens(law: Fit, tokens: float) -> Quantity:
    """Parameters for which so many tokens are compute-optimal."""
    if not tokens > 0:
        raise PlanError(f"{tokens} tokens", "a positive number, such as 20B")
    name, n = f"optimal parameters ({law.name})", law.parameters_for(tokens)
    if isinstance(law, LossLaw):
        formula = "(alpha * a / (beta * b) * D ** beta) ** (1 / alpha)"
        inputs = {"a": law.a, "b": law.b, "alpha": law.alpha, "beta": law.beta, "D": tokens}
        return derived(name, n, "parameters", formula, law.source, **inputs)
    return derived(name, n, "parameters", "(D / 10 ** c) ** (1 / m)", law.source, c=law.log10_scale, m=law.exponent, D=tokens)


def optimal_by_fit(parameters: float) -> dict[str, Quantity]:
    """Optimal tokens by every published fit: the honest band."""
    return {name: optimal_tokens(law, parameters) for name, law in FITS.items()}


def compute_optimal(law: Fit, flop: float) -> tuple[Quantity, Quantity]:
    """(parameters, tokens) that spend 6 N D = `flop` best."""
    if not flop > 0:
        raise PlanError(f"the compute budget is {flop} FLOP", "give a positive budget, such as 1e21")
    n = law.optimal_parameters(flop)
    if isinstance(law, LossLaw):
        formula = "(alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (C / 6) ** (beta / (alpha + beta))"
        inputs = {"a": law.a, "b": law.b, "alpha": law.alpha, "beta": law.beta, "C": flop}
    else:
        formula = "(C / (6 * 10 ** c)) ** (1 / (1 + m))"
        inputs = {"c": law.log10_scale, "m": law.exponent, "C": flop}
    parameters = derived(f"optimal parameters ({law.name})", n, "parameters", formula, law.source, **inputs)
    tokens = derived(f"optimal tokens ({law.name})", flop / 6 / n, "tokens", "C / (6 * N)", "chinchilla", C=flop, N=parameters)
    return parameters, tokens


def predicted_loss(law: LossLaw, parameters: float, data: Quantity) -> Quantity:
    """L(N, D), its three parts kept apart. `data` is in the law's unit, after the discount for repetition."""
    assert data.unit == law.data_unit, f"law {law.name} wants {law.data_unit}, got {data.unit}"
    terms = (
        given("irreducible", law.e, law.unit, law.source),
        derived(
            "finite model",
            law.a / parameters**law.alpha,
            law.unit,
            "a / N ** alpha",
            law.source,
            a=law.a,
            alpha=law.alpha,
            N=parameters,
        ),
        derived(
            "finite data", law.b / data.value**law.beta, law.unit, "b / D ** beta", law.source, b=law.b, beta=law.beta, D=data
        ),
    )
    return total("predicted loss", terms, source=law.source)


def effective_data(data: Quantity, unique: float | None) -> Quantity:
    """What `data` is worth in fresh tokens when only `unique` of them exist (None: all are fresh).

    D' = U + U R* (1 - exp(-R / R*)), R = D / U - 1 (Muennighoff et al. 2023, equation 5). Fitted on models of 7 M to 9 B
    parameters with dropout 0.1; without regularisation repetition hurts sooner.
    """
    if unique is None or data.value <= unique:
        return data
    if not unique > 0:
        raise PlanError(f"there are {unique} unique {data.unit} to train on", "give the size of the data, or leave it out")
    worth = unique + unique * REPETITION_DECAY * (1 - math.exp(-(data.value / unique - 1) / REPETITION_DECAY))
    return derived(
        f"effective {data.unit}",
        worth,
        data.unit,
        "U + U * R * (1 - exp(-(D / U - 1) / R))",
        "muennighoff2023",
        D=data,
        U=given(f"unique {data.unit}", unique, data.unit),
        R=_DECAY,
    )


def training_verdict(tokens: float, optimal: float) -> str:
    """In words: how the planned tokens stand to the compute-optimal ones."""
    ratio = tokens / optimal
    if ratio < UNDER_TRAINED:
        return f"under-trained: {ratio:.2g} of the compute-optimal tokens; a smaller model would do better for the same compute"
    if ratio > OVER_TRAINED:
        return f"over-trained: {ratio:.3g} times the compute-optimal tokens; costs more to train, less to run"
    return f"near compute-optimal: {ratio:.2f} times the optimal tokens"


_DECAY: Final = given("decay of repeated data", REPETITION_DECAY, source="muennighoff2023")
