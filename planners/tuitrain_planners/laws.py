"""Scaling laws by name: published constants, and the form a locally measured law takes.

Two forms. A LossLaw predicts the loss, L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, equation 2), and its
optimum follows; a TokenRule only says how many tokens suit N parameters, D = 10^c N^m.

The constants disagree: at 70 B parameters from 1.3 T to 7.7 T tokens. Hoffmann's approach 3 is inconsistent with their
approaches 1 and 2 because its optimiser stopped early and the printed constants are rounded (Besiroglu et al. 2024); the
refit agrees with 1 and 2, so it is the default here. Validity of all: single-epoch web text, about 5e18 to 5e23 FLOP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tuitrain_planners.errors import PlanError, unknown_name


@dataclass(frozen=True, kw_only=True, slots=True)
class LossLaw:
    """L(N, D) = e + a / N^alpha + b / D^beta. N counts all parameters, tied ones once."""

    name: str
    e: float
    """Loss that neither parameters nor data remove, in `unit`."""
    a: float
    b: float
    alpha: float
    beta: float
    unit: Literal["nats/token", "bits/byte"]
    """Nats per token only compare models of one tokenizer; bits per byte compare all."""
    source: str
    """Key of the bibliography, or `measured: ...`."""
    corpus: str
    """The text it was fitted on; predictions for other text may be far off in e."""
    data_unit: Literal["tokens", "bytes"] = "tokens"
    """What D counts. Only a law in bytes may compare vocabularies."""
    fitted_parameters: tuple[float, float] = (0.0, math.inf)
    """Smallest and largest N among the runs it was fitted to; beyond them it extrapolates."""
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    """One sigma of each constant. The constants are strongly correlated: never add these up into a band of the loss."""
    size_exponent: tuple[float, float] | None = None
    """(a, its standard error) of N_opt ~ C^a, where the fit states it: the one error that holds for the optimum as a whole."""

    def __post_init__(self) -> None:
        for name, known in (("unit", ("nats/token", "bits/byte")), ("data_unit", ("tokens", "bytes"))):
            if getattr(self, name) not in known:
                raise PlanError(f"law {self.name!r}: {name} is {getattr(self, name)!r}", f"{known[0]} or {known[1]}")
        for name in ("e", "a", "b", "alpha", "beta"):
            if not (math.isfinite(value := getattr(self, name)) and (value > 0 or (name == "e" and value == 0))):
                raise PlanError(f"law {self.name!r}: {name} is {value}", "constants of a loss law are positive")

    def parameters_for(self, data: float) -> float:
        """The N for which D = `data` is optimal: the inverse of `optimal_data`."""
        return float((self.alpha * self.a / (self.beta * self.b) * data**self.beta) ** (1 / self.alpha))

    def extrapolates(self, parameters: float) -> bool:
        """Whether N lies outside the models the law was fitted to."""
        return not self.fitted_parameters[0] <= parameters <= self.fitted_parameters[1]

    def loss(self, parameters: float, data: float) -> float:
        """Predicted loss after training `parameters` on `data` (in `data_unit`) once."""
        return float(self.e + self.a / parameters**self.alpha + self.b / data**self.beta)

    def optimal_data(self, parameters: float) -> float:
        """The D for which N = `parameters` is the best use of the compute 6 N D (Hoffmann et al. 2022, equation 4)."""
        return float((self.beta * self.b / (self.alpha * self.a) * parameters**self.alpha) ** (1 / self.beta))

    def optimal_parameters(self, flop: float) -> float:
        """The N that minimises the loss for 6 N D = `flop`: G (C / 6)^(beta / (alpha + beta))."""
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        return float(g * (flop / 6) ** (self.beta / (self.alpha + self.beta)))


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRule:
    """D = 10^log10_scale * N^exponent: optimal tokens without a loss."""

    name: str
    exponent: float
    log10_scale: float
    source: str

    def optimal_data(self, parameters: float) -> float:
        """Tokens that suit N = `parameters`."""
        return float(10.0**self.log10_scale * parameters**self.exponent)

    def parameters_for(self, data: float) -> float:
        """The N that D = `data` tokens suit."""
        return float((data / 10.0**self.log10_scale) ** (1 / self.exponent))

    def optimal_parameters(self, flop: float) -> float:
        """The N with 6 N D(N) = `flop`."""
        return float((flop / (6 * 10.0**self.log10_scale)) ** (1 / (1 + self.exponent)))


Fit = LossLaw | TokenRule

_MASSIVE_TEXT: Final = "MassiveText, 32k SentencePiece tokens"
_HOFFMANN_RANGE: Final = (70e6, 16e9)

EPOCH: Final = LossLaw(
    name="epoch", e=1.81686, a=482.00572, b=2085.4342, alpha=0.34781, beta=0.36585, unit="nats/token", source="epoch2024",
    corpus=f"{_MASSIVE_TEXT} (Hoffmann's runs, read from their figure 4)",
    fitted_parameters=_HOFFMANN_RANGE, standard_errors={"e": 0.03, "a": 124.58, "b": 1293.23, "alpha": 0.015, "beta": 0.021},
    size_exponent=(0.513, 0.020),
)  # fmt: skip
"""Refit of approach 3: Besiroglu et al. (2024)."""

FITS: Final[dict[str, Fit]] = {
    "epoch": EPOCH,
    # Log-log lines through the rows the paper prints for each approach; nanoGPT's notebook does the same.
    "chinchilla-1": TokenRule(
        name="chinchilla-1", exponent=1.0075297226422812, log10_scale=1.2407929586702746, source="nanogpt-scaling"
    ),
    "chinchilla-2": TokenRule(
        name="chinchilla-2", exponent=1.0409573169995892, log10_scale=0.9353887152390791, source="nanogpt-scaling"
    ),
    # As printed in equation 10: rounded, which alone raises the optimum at 8 B parameters from 43 to 69 tokens each.
    "chinchilla-3": LossLaw(
        name="chinchilla-3", e=1.69, a=406.4, b=410.7, alpha=0.34, beta=0.28, unit="nats/token", source="chinchilla",
        corpus=_MASSIVE_TEXT, fitted_parameters=_HOFFMANN_RANGE,
    ),
    # The same fit to the digits of the paper's TeX source: ln A, ln B, ln E as given there.
    "chinchilla-3-unrounded": LossLaw(
        name="chinchilla-3-unrounded", e=math.exp(0.5267228), a=math.exp(6.0073404), b=math.exp(6.0179186), alpha=0.33917084,
        beta=0.2849083, unit="nats/token", source="chinchilla", corpus=_MASSIVE_TEXT,
        fitted_parameters=_HOFFMANN_RANGE,
    ),
    # The rule of thumb: Hoffmann et al. trained Chinchilla, 70 B, on 1.4 T tokens.
    "20x": TokenRule(name="20x", exponent=1.0, log10_scale=math.log10(20), source="chinchilla"),
}  # fmt: skip
"""Every published fit, the default first."""


def fit(name: str) -> Fit:
    """The published fit of that name."""
    if name not in FITS:
        raise unknown_name("scaling law", name, FITS)
    return FITS[name]


def loss_law(name: str) -> LossLaw:
    """The published fit of that name, which must predict a loss."""
    found = fit(name)
    if isinstance(found, TokenRule):
        laws = ", ".join(key for key, each in FITS.items() if isinstance(each, LossLaw))
        raise PlanError(f"the scaling law {name!r} predicts no loss, only tokens", f"one of {laws}")
    return found
