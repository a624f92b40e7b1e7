"""The chunked loss head is the plain one: in loss, in both gradients, for every precision, cap and mask."""

from __future__ import annotations

import pytest
import torch

from tuitrain_kernels import IGNORE, linear_cross_entropy, plain_linear_cross_entropy

ROWS, WIDTH, VOCAB = 150, 32, 333


def inputs(dtype: torch.dtype, masked: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, WIDTH, generator=generator).requires_grad_()
    targets = torch.randint(0, VOCAB, (ROWS,), generator=generator)
    targets[torch.rand(ROWS, generator=generator) < masked] = IGNORE
    return hidden, weight, targets


def run(function, hidden, weight, targets, **arguments):
    loss = function(hidden, weight, targets, **arguments)
    return loss.detach(), *torch.autograd.grad(loss * 0.01, (hidden, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("softcap", [None, 15.0])
@pytest.mark.parametrize("masked", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("chunk_rows", [1, 64, 10_000])
def test_equal_to_the_plain_head(dtype: torch.dtype, softcap: float | None, masked: float, chunk_rows: int) -> None:
    case = inputs(dtype, masked)
    got = run(linear_cross_entropy, *case, softcap=softcap, chunk_rows=chunk_rows)
    want = run(plain_linear_cross_entropy, *case, softcap=softcap)
    # fp32: summation order. bf16: the logits' gradient is rounded to bf16 once, in either path.
    tolerance = {torch.float32: 2e-6, torch.bfloat16: 1e-2}[dtype]
    for name, a, b in zip(("loss", "grad_hidden", "grad_weight"), got, want, strict=True):
        scale = max(1.0, float(b.float().abs().max()))
        difference = float((a.float() - b.float()).abs().max()) / scale
        assert difference <= tolerance, f"{name}: largest difference {difference:.2e} of {scale:.2e}"
    assert got[0].dtype == torch.float32


def test_a_16_bit_loss_is_not_rounded_to_16_bits() -> None:
    hidden, weight, targets = inputs(torch.bfloat16, 0.0)
    exact = plain_linear_cross_entropy(hidden.float(), weight.bfloat16().float(), targets)
    assert linear_cross_entropy(hidden, weight, targets).item() == pytest.approx(exact.item(), rel=2e-3)


def test_no_gradient_is_made_when_none_is_asked_for() -> None:
    hidden, weight, targets = inputs(torch.float32, 0.0)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad
    frozen = weight.detach()
    (grad,) = torch.autograd.grad(linear_cross_entropy(hidden, frozen, targets), (hidden,))
    assert torch.isfinite(grad).all()


def test_logits_are_never_whole() -> None:
    """Peak of live tensor bytes with a 49k vocabulary: at most a quarter of the plain head's."""
    from support.live_bytes import peak_live_bytes

    rows, width, vocab = 2048, 64, 49_152
    hidden = torch.randn(rows, width, requires_grad=True)
    weight = torch.randn(vocab, width, requires_grad=True)
    targets = torch.randint(0, vocab, (rows,))
    peaks = {
        function.__name__: peak_live_bytes(lambda function=function: function(hidden, weight, targets).backward())
        for function in (linear_cross_entropy, plain_linear_cross_entropy)
    }
    share = peaks["linear_cross_entropy"] / peaks["plain_linear_cross_entropy"]
    assert share <= 0.25, f"chunked holds {share:.0%} of plain: {peaks}"
