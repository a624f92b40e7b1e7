"""What each preference loss needs and what its settings are where none are asked for. Standard library only.

Learning rates are given as a share of what supervised fine-tuning of the same model, with the same method, would take. The
alignment handbook's Zephyr 7B recipes have 2e-5 for that and 5e-7 for DPO with all weights, 2e-4 and 5e-6 with QLoRA: 1/40
both times (https://github.com/huggingface/alignment-handbook, recipes/zephyr-7b-beta). The others from rates published for 7B
models trained whole, over the same 2e-5. A start for a search, not more: models differ by a factor of 3 either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceMethod:
    """One loss."""

    name: str
    paired: bool
    """Learns from pairs of answers; else from single ones, each liked or not."""
    needs_reference: bool
    """Compares with the model it started as, whose log-probabilities must be had: a second model, or a cache."""
    length_normalised: bool
    """Compares means over an answer's tokens; else sums."""
    beta: float
    """How much the model may leave the reference, or the scale of the reward; under orpo the weight of the odds."""
    gamma_per_beta: float = 0.0
    """simpo: the margin, as a share of beta."""
    liked_weight: float = 1.0
    """kto. 1 for both where liked and disliked answers are about as many."""
    disliked_weight: float = 1.0
    learning_rate_scale: float
    """Times the rate of supervised fine-tuning."""
    source: str
    """Of the formula; then of the defaults."""

    def gamma(self, beta: float) -> float:
        """The margin that goes with a beta."""
        return self.gamma_per_beta * beta


_DPO_RATE: Final = 1 / 40
_ALL: Final = (
    PreferenceMethod(
        name="dpo", paired=True, needs_reference=True, length_normalised=False,
        beta=0.1, learning_rate_scale=_DPO_RATE,
        source="Rafailov et al. 2023, arXiv:2305.18290, equation 7; beta 0.1 from the authors' README",
    ),
    PreferenceMethod(
        name="ipo", paired=True, needs_reference=True, length_normalised=True,
        beta=0.1, learning_rate_scale=_DPO_RATE,
        source="Azar et al. 2023, arXiv:2310.12036, equation 17, per token as in TRL; beta 0.1 from TRL and HALOs, the rate "
        "from https://huggingface.co/blog/pref-tuning",
    ),
    PreferenceMethod(
        name="simpo", paired=True, needs_reference=False, length_normalised=True,
        beta=2.0, gamma_per_beta=0.5, learning_rate_scale=_DPO_RATE,
        source="Meng, Xia, Chen 2024, arXiv:2405.14734, equation 6; defaults from the authors' README: beta 2 to 2.5, gamma "
        "half of it, rates of 3e-7 to 1e-6",
    ),
    PreferenceMethod(
        name="orpo", paired=True, needs_reference=False, length_normalised=True,
        beta=0.1, learning_rate_scale=1 / 4,
        source="Hong, Lee, Thorne 2024, arXiv:2403.07691, equations 6 and 7; defaults from the authors' script of "
        "Mistral-ORPO-beta: 0.1, 5e-6",
    ),
    PreferenceMethod(
        name="kto", paired=False, needs_reference=True, length_normalised=False,
        beta=0.1, learning_rate_scale=1 / 4,
        source="Ethayarajh et al. 2024, arXiv:2402.01306, section 4; defaults from the authors' HALOs: 0.1, weights 1, 5e-6",
    ),
)  # fmt: skip
METHODS: Final = MappingProxyType({method.name: method for method in _ALL})
"""By the names `preference.loss` takes."""
