"""The loss law of the embedded corpus, L(N, D) = e + a / N^alpha + b / D^beta in bits per byte, fitted to runs of this trainer.

Runs the sweep below at the default recipe, each for less than one epoch, and fits as Hoffmann et al. (2022, section 3.3) do:
Huber loss (delta 1e-3) between logarithms, L-BFGS from a grid of starts. A few small runs cannot determine five constants, so
the exponents are drawn to the published ones (Epoch's refit of Chinchilla); it keeps longer runs from being predicted by what
happens in the first minute. Prints what goes into presets/laws/python-stdlib.toml.
Not part of `python -m benchmarks`: the constants change only when the recipe does. `python -m benchmarks --one law`
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from benchmarks import ours
from benchmarks.common import save, scratch_home, table
from tuitrain_planners import EPOCH

SWEEP = ((1, 0.8e6), (1, 3.0e6), (2, 0.8e6), (2, 2.4e6), (2, 3.0e6), (3, 1.8e6), (4, 0.6e6), (4, 2.0e6), (6, 0.5e6))
"""(depth, tokens), all with a vocabulary of 4096: the law cannot compare vocabularies."""
HUBER_DELTA = 1e-3
EXPONENT_WEIGHT = 1e-3
"""Of the squared distance of both exponents from EPOCH's, beside the Huber loss."""


def run(depth: int, tokens: float) -> dict[str, Any]:
    """One run of the default recipe, its final validation over the whole split."""
    trained = ours.train(f"model.depth={depth}", f"train.tokens={tokens:g}", "eval.every_steps=0", "eval.sample_tokens=0")
    evals, state = trained.state.evals, trained.state
    per_token = evals.last("bytes") / evals.last("tokens")
    assert state.end is not None
    facts = trained.facts()
    return {
        "depth": depth,
        "parameters": facts["parameters"],
        "tokens": facts["tokens"],
        "bytes": facts["tokens"] * per_token,
        "bits_per_byte": evals.last("bits_per_byte"),
        "steps": facts["steps"],
        "seq_len": trained.config["train"]["seq_len"],
        "batch_tokens": trained.config["train"]["batch_tokens"],
    }


def predict(constants: torch.Tensor, parameters: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """log L of (log e, log a, log b, alpha, beta)."""
    e, a, b, alpha, beta = constants
    return torch.logsumexp(torch.stack([e.expand_as(data), a - alpha * parameters.log(), b - beta * data.log()]), 0)


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The constants with the smallest Huber loss over all starts."""
    n, d, observed = (
        torch.tensor([float(row[key]) for row in rows], dtype=torch.float64) for key in ("parameters", "bytes", "bits_per_byte")
    )
    published = torch.tensor([EPOCH.alpha, EPOCH.beta], dtype=torch.float64)

    def objective(constants: torch.Tensor) -> torch.Tensor:
        predicted = predict(constants, n, d)
        misfit = torch.nn.functional.huber_loss(predicted, observed.log(), delta=HUBER_DELTA, reduction="sum")
        return misfit + EXPONENT_WEIGHT * (constants[3:] - published).square().sum()

    best, best_loss = torch.zeros(5), float("inf")
    for start in itertools.product((-2.0, -1.0, -0.3), (0.0, 3.0, 6.0), (2.0, 4.0, 8.0), (0.2, 0.5), (0.2, 0.5)):
        constants = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([constants], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14)

        def closure(optimizer: torch.optim.Optimizer = optimizer, constants: torch.Tensor = constants) -> torch.Tensor:
            optimizer.zero_grad()
            value = objective(constants)
            value.backward()
            return value

        optimizer.step(closure)
        value = objective(constants).item()
        if value < best_loss:
            best, best_loss = constants.detach(), value
    e, a, b, alpha, beta = (float(each) for each in best)
    errors = (predict(best, n, d).exp() / observed - 1).abs()
    return {"e": float(torch.tensor(e).exp()), "a": float(torch.tensor(a).exp()), "b": float(torch.tensor(b).exp()),
            "alpha": alpha, "beta": beta, "worst_error": float(errors.max()), "mean_error": float(errors.mean())}  # fmt: skip


def main() -> None:
    """Sweep, fit, print, save."""
    scratch_home()
    results = []
    for depth, tokens in SWEEP:
        results.append(run(depth, tokens))
        print(f"depth {depth}, {tokens:.2g} tokens: {results[-1]['bits_per_byte']:.4f}", flush=True)
        save("law", {"runs": results})
    constants = fit(results)
    columns = ("depth", "parameters", "tokens", "bytes", "bits_per_byte")
    table([list(columns), *([f"{row[key]:.4g}" for key in columns] for row in results)])
    print("\n".join(f"{key} = {value:.6g}" for key, value in constants.items()))
    save("law", {"runs": results, "fit": constants})


if __name__ == "__main__":
    main()
