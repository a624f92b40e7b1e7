"""Kernels that training stands on: attention and the loss heads. Knows torch, and nothing of tuitrain or its planner."""

from tuitrain_kernels.attention import attention, choose_attention
from tuitrain_kernels.cross_entropy import IGNORE, linear_cross_entropy, plain_linear_cross_entropy
from tuitrain_kernels.dispatch import Choice
from tuitrain_kernels.token_log_probs import linear_log_probs, plain_linear_log_probs

__all__ = [
    "IGNORE",
    "Choice",
    "attention",
    "choose_attention",
    "linear_cross_entropy",
    "linear_log_probs",
    "plain_linear_cross_entropy",
    "plain_linear_log_probs",
]
