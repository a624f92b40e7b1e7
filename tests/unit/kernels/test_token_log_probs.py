"""The chunked log-probabilities are the plain ones: in values and both gradients, when every row's gradient differs."""

from __future__ import annotations

import pytest
import torch
from support.live_bytes import peak_live_bytes

from tuitrain_kernels import (
    IGNORE,
    linear_cross_entropy,
    linear_log_probs,
    plain_linear_cross_entropy,
    plain_linear_log_probs,
)

ROWS, WIDTH, VOCAB = 150, 32, 333


def inputs(dtype: torch.dtype, masked: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, WIDTH, generator=generator).requires_grad_()
    targets = torch.randint(0, VOCAB, (ROWS,), generator=generator)
    targets[torch.rand(ROWS, generator=generator) < masked] = IGNORE
    return hidden, weight, targets, torch.randn(ROWS, generator=generator)


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max()) / max(1.0, float(b.double().abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("softcap", [None, 15.0])
@pytest.mark.parametrize("masked", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("chunk_rows", [1, 64, 10_000])
@pytest.mark.parametrize("trained", ["hidden", "weight", "both"])
def test_equal_to_the_plain_head(
    dtype: torch.dtype, softcap: float | None, masked: float, chunk_rows: int, trained: str
) -> None:
    hidden, weight, targets, row_weights = inputs(dtype, masked)
    hidden.requires_grad_(trained != "weight")
    weight.requires_grad_(trained != "hidden")
    asked = [each for each in (hidden, weight) if each.requires_grad]
    found = {}
    for function, arguments in ((linear_log_probs, {"chunk_rows": chunk_rows}), (plain_linear_log_probs, {})):
        log_probs = function(hidden, weight, targets, softcap, **arguments)
        assert log_probs.dtype == torch.float32
        found[function] = log_probs.detach(), *torch.autograd.grad((log_probs * row_weights).sum(), asked)
    # fp32: summation order. bf16: what is rounded to bf16 is rounded once, at the logits or at the row's gradient.
    tolerance = {torch.float32: 2e-6, torch.bfloat16: 1e-2}[dtype]
    for got, want in zip(found[linear_log_probs], found[plain_linear_log_probs], strict=True):
        assert got.dtype == want.dtype
        assert largest_difference(got, want) <= tolerance


@pytest.mark.parametrize("trained_head", [False, True])
def test_the_sum_is_the_cross_entropy(trained_head: bool) -> None:
    """Two kernels, one function: weighing every row by -1 gives the loss head's value and gradients."""
    hidden, weight, targets, _ = inputs(torch.float32, 0.4)
    weight.requires_grad_(trained_head)
    asked = (hidden, weight) if trained_head else (hidden,)
    ours = -linear_log_probs(hidden, weight, targets, chunk_rows=16).sum()
    theirs = linear_cross_entropy(hidden, weight, targets, chunk_rows=16)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for got, want in zip(torch.autograd.grad(ours, asked), torch.autograd.grad(theirs, asked), strict=True):
        assert largest_difference(got, want) <= 2e-6


def test_masked_rows_are_zero_and_get_no_gradient() -> None:
    hidden, weight, targets, row_weights = inputs(torch.float32, 0.4)
    log_probs = linear_log_probs(hidden, weight, targets, chunk_rows=16)
    masked = targets == IGNORE
    assert log_probs.shape == targets.shape
    assert (log_probs[masked] == 0).all()
    assert (log_probs[~masked] < 0).all()
    (grad,) = torch.autograd.grad((log_probs * row_weights).sum(), hidden)
    assert (grad[masked] == 0).all()
    assert (grad[~masked].abs().sum(1) > 0).all()


@pytest.mark.parametrize("trained_head", [False, True])
def test_backward_twice_gives_the_same(trained_head: bool) -> None:
    """What the forward pass kept is not used up: two losses may share one forward pass."""
    hidden, weight, targets, row_weights = inputs(torch.float32, 0.0)
    weight.requires_grad_(trained_head)
    log_probs = linear_log_probs(hidden, weight, targets)
    (first,) = torch.autograd.grad((log_probs * row_weights).sum(), hidden, retain_graph=True)
    (second,) = torch.autograd.grad((log_probs * row_weights).sum(), hidden)
    assert torch.equal(first, second)


def test_a_rows_factor_is_not_rounded_to_16_bits() -> None:
    """1 + 2^-10 is 1 in bf16: the finished gradient must come out as scaled in fp32 and rounded once."""
    hidden, weight, targets, _ = inputs(torch.bfloat16, 0.0)
    weight = weight.detach()
    (one,) = torch.autograd.grad(linear_log_probs(hidden, weight, targets).sum(), hidden)
    factor = 1.0 + 2.0**-8 * 0.75
    (scaled,) = torch.autograd.grad((factor * linear_log_probs(hidden, weight, targets)).sum(), hidden)
    assert torch.equal(scaled, (one.float() * factor).bfloat16())
    assert not torch.equal(scaled, one * torch.tensor(factor).bfloat16())


@pytest.mark.parametrize("function", [linear_log_probs, linear_cross_entropy])
def test_no_gradient_is_made_under_no_grad(function) -> None:
    """A reference pass or an evaluation over trainable weights once made the head's whole gradient, and threw it away."""
    rows, width, vocab = 256, 64, 8192
    hidden = torch.randn(rows, width, requires_grad=True)
    weight = torch.randn(vocab, width, requires_grad=True)
    targets = torch.randint(0, vocab, (rows,))
    with torch.no_grad():
        assert not function(hidden, weight, targets).requires_grad
        *trainable, frozen = (
            peak_live_bytes(lambda pair=pair: function(*pair, targets, chunk_rows=16))
            for pair in ((hidden, weight), (hidden, weight.detach()), (hidden.detach(), weight.detach()))
        )
    assert trainable == [frozen, frozen], f"{trainable} bytes, {frozen} where nothing can learn"


@pytest.mark.parametrize("trained_head", [False, True])
def test_logits_are_never_whole(trained_head: bool) -> None:
    """Peak of live tensor bytes with a 25k vocabulary: at most a quarter of the plain head's."""
    rows, width, vocab = 1024, 64, 24_576
    hidden = torch.randn(rows, width, requires_grad=True)
    weight = torch.randn(vocab, width, requires_grad=trained_head)
    targets = torch.randint(0, vocab, (rows,))
    row_weights = torch.randn(rows)
    peaks = {
        function.__name__: peak_live_bytes(
            lambda function=function: (function(hidden, weight, targets) * row_weights).sum().backward()
        )
        for function in (linear_log_probs, plain_linear_log_probs)
    }
    share = peaks["linear_log_probs"] / peaks["plain_linear_log_probs"]
    assert share <= 0.25, f"chunked holds {share:.0%} of plain: {peaks}"


def test_the_plain_twins_agree() -> None:
    hidden, weight, targets, _ = inputs(torch.float32, 0.4)
    total = plain_linear_log_probs(hidden, weight, targets, 15.0).sum()
    assert -total.item() == pytest.approx(plain_linear_cross_entropy(hidden, weight, targets, 15.0).item(), rel=1e-6)
