"""Long phases say that they move: a hung process is one that says nothing."""

from __future__ import annotations

import torch
from torch import nn

from tuitrain.trainer.compile import _listen, tell_of_compiling
from tuitrain.trainer.sample import _ticking


def test_compiling_a_graph_ticks() -> None:
    ticks: list[int] = []
    tell_of_compiling(lambda: ticks.append(1))
    _listen()
    torch.compile(lambda x: x * 2 + 1, backend="eager")(torch.ones(3))
    assert len(ticks) >= 2


def test_every_forward_pass_of_generating_ticks_and_later_ones_do_not() -> None:
    ticks: list[int] = []
    model = nn.Linear(2, 2)
    with _ticking(model, lambda: ticks.append(1)):
        model(torch.ones(1, 2))
        model(torch.ones(1, 2))
    model(torch.ones(1, 2))
    assert len(ticks) == 2
