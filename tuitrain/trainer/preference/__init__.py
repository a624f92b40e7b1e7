"""Learning which answer is better: the losses, what each needs and defaults to, and the reference's numbers on disk.

Arithmetic on log-probabilities summed per answer; no model, no tokens and no process group is known here. Losses of pairs
(dpo, ipo, simpo, orpo) come from `pair_loss`, the loss of single judged answers (kto) from `kto_loss`.
"""

from tuitrain.config.preference import METHODS, PreferenceMethod
from tuitrain.trainer.preference.dpo import dpo_loss
from tuitrain.trainer.preference.ipo import ipo_loss
from tuitrain.trainer.preference.kto import kl_baseline, kl_sums, kto_loss, mismatched_order
from tuitrain.trainer.preference.metrics import FIELDS, averages, judged_metrics, pair_metrics
from tuitrain.trainer.preference.orpo import orpo_loss
from tuitrain.trainer.preference.pair_loss import pair_loss
from tuitrain.trainer.preference.reference_cache import ReferenceCache, cache_key
from tuitrain.trainer.preference.results import JudgedLoss, PairLoss, PairSums
from tuitrain.trainer.preference.simpo import simpo_loss

__all__ = [
    "FIELDS",
    "METHODS",
    "JudgedLoss",
    "PairLoss",
    "PairSums",
    "PreferenceMethod",
    "ReferenceCache",
    "averages",
    "cache_key",
    "dpo_loss",
    "ipo_loss",
    "judged_metrics",
    "kl_baseline",
    "kl_sums",
    "kto_loss",
    "mismatched_order",
    "orpo_loss",
    "pair_loss",
    "pair_metrics",
    "simpo_loss",
]
