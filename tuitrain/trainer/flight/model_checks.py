"""Checks that need the model as it will be trained: head, packing, gradients. Each compares the fast way with the plain one, on
the run's own weights, backend and examples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tuitrain.data.chat.findings import Finding
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.model.pretrained import Pretrained
from tuitrain.trainer.evaluate import evaluating

TOLERANCE = {torch.float32: 5e-4, torch.bfloat16: 0.04, torch.float16: 0.01}
"""Mean difference of logits between two orders of the same sums: units in the last place, through all layers. The mean, because
single logits of size 40 were seen to be half a unit apart in bf16 on one CPU and a tenth on another of the same name."""
ROUNDING_FACTOR = 4.0
"""How many times the model's own rounding, where that is measured, is still rounding."""
PACKED_TOKENS = 48
"""Tokens of each of the two examples that are packed for the test."""


def check_model(model: Pretrained, loader: ExampleLoader, *, quant: str | None) -> list[Finding]:
    """Findings. Gradients come first: what an evaluation does to them shows only before the first one."""
    findings = [] if quant is None else [*_quantised(model, loader, quant)]
    findings += _head(model, loader)
    if loader.shape.packing:
        findings += _packing(model, loader)
    return findings


def _head(model: Pretrained, loader: ExampleLoader) -> Iterator[Finding]:
    """Our head on hidden states against the model's own logits: families that scale or cap theirs must not be mistaken."""
    tokens = _two(loader, model.device)[0]
    with torch.no_grad(), evaluating(model):
        ours = model(tokens[None])[0]
        with model._autocast():
            theirs = model.lm(input_ids=tokens[None], use_cache=False).logits[0].float()
    error, limit = _apart(ours, theirs), TOLERANCE[model.compute_dtype]
    if not error <= limit:
        message = f"logits by hidden states and head differ from the model's own by {error:.2g} on average (limit {limit:g})"
        fix = "this family computes its logits in a way tuitrain does not know; please report it with the model's name"
        yield Finding(check="head", severity="block", message=message, fix=fix)
    else:
        yield Finding(check="head", severity="ok", message=f"logits equal the model's own (mean difference {error:.1g})")


def _packing(model: Pretrained, loader: ExampleLoader) -> Iterator[Finding]:
    """Two examples in one row must give the logits each gives alone; in two rows, as backends may isolate in one alone."""
    one, two = _two(loader, model.device)
    orders = ((one, two), (two, one))
    rows = torch.stack([torch.cat(order) for order in orders])
    positions = torch.stack([torch.cat([torch.arange(len(each)) for each in order]) for order in orders]).to(model.device)
    documents = (positions == 0).cumsum(dim=1) - 1
    with torch.no_grad(), evaluating(model):
        packed = model(rows, documents, positions)
        apart = [model(each[None])[0] for each in (one, two)]
        alone = torch.stack([torch.cat(apart), torch.cat(apart[::-1])])
        blind = model(rows)
        # Longer by what it cannot see: the same function in sums of another order, which is what rounding is here.
        longer = [
            model(torch.cat([each, each.new_zeros(rows.shape[1] - len(each))])[None])[0, : len(each)] for each in (one, two)
        ]
    rounding = max(_apart(each, same) for each, same in zip(longer, apart, strict=True))
    error, limit = _apart(packed, alone), max(TOLERANCE[model.compute_dtype], ROUNDING_FACTOR * rounding)
    seen = _apart(blind, alone)
    backend = model.lm.config._attn_implementation
    if not error <= limit:
        message = (
            f"with {backend} attention, packed examples see each other: logits differ by {error:.2g} from the examples alone "
            f"on average (limit {limit:.2g}; without any isolation they differ by {seen:.2g})"
        )
        fix = "train.attention=sdpa, or data.packing=false"
        yield Finding(check="packing", severity="block", message=message, fix=fix)
    elif not seen > limit:
        message = (
            f"whether packed examples see each other cannot be told: without isolation logits differ by {seen:.2g}, of which "
            f"{limit:.2g} may be rounding"
        )
        yield Finding(check="packing", severity="warn", message=message, fix="train.precision=fp32, or data.packing=false")
    else:
        message = (
            f"packed logits equal unpacked ones to {error:.1g} with {backend} attention (without isolation: {seen:.2g} apart)"
        )
        yield Finding(check="packing", severity="ok", message=message)


def _quantised(model: Pretrained, loader: ExampleLoader, quant: str) -> Iterator[Finding]:
    """Gradients must be the same after an evaluation: a backend that repacks its weights in place loses them silently."""
    tokens = _two(loader, model.device)[0]
    before = _gradient_norm(model, tokens)
    with torch.no_grad(), evaluating(model):
        model(tokens[None])
    after = _gradient_norm(model, tokens)
    if not (np.isfinite(before) and before > 0 and abs(after - before) <= 1e-3 * before):
        message = f"{quant}: the gradient's norm is {before:.4g} before an evaluation and {after:.4g} after it"
        fix = "upgrade bitsandbytes, or method.kind=lora"
        yield Finding(check="quantisation", severity="block", message=message, fix=fix)
    else:
        yield Finding(
            check="quantisation", severity="ok", message=f"{quant}: gradients are the same before and after an evaluation"
        )


def _gradient_norm(model: Pretrained, tokens: Tensor) -> float:
    """Of the trained weights, in training mode with the same dropout each time; 0 where none are left. At the start an
    adapter's second matrix is 0, so its gradient alone is not."""
    trained = [each for each in model.parameters() if each.requires_grad]
    with torch.enable_grad(), torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(0)
        loss = model(tokens[None]).float().logsumexp(-1).mean()
        if not loss.requires_grad:
            return 0.0
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    return float(torch.nn.utils.get_total_norm([each for each in gradients if each is not None]))


def _apart(first: Tensor, second: Tensor) -> float:
    """Mean difference of logits."""
    return float((first - second).abs().mean())


def _two(loader: ExampleLoader, device: torch.device) -> tuple[Tensor, Tensor]:
    """The beginnings of two of the run's own examples, of unequal length."""
    usable = loader.usable
    chosen = [loader.train[int(usable[0])], loader.train[int(usable[len(usable) // 2])]]
    cut = [
        each.ids[: min(len(each.ids), limit)] for each, limit in zip(chosen, (PACKED_TOKENS, PACKED_TOKENS - 11), strict=True)
    ]
    first, second = (torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in cut)
    return first, second
