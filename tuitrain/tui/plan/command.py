"""The command that says the same as the form: what a user copies, and what runs where there is no interface."""

from __future__ import annotations

import re
import shlex

from tuitrain.tui.plan.fields import BY_KEY, LIST, OPTIMAL, PRESET, Form
from tuitrain.tui.plan.reading import THIS
from tuitrain_planners import PlanRequest


def plan_command(form: Form, request: PlanRequest) -> tuple[str, tuple[str, ...]]:
    """(`tuitrain plan ...`, what of the form the command cannot say). `request` is what the form asks for."""
    model = form["model"].strip()
    words = ["tuitrain", "plan"]
    words += ["--params", model] if re.fullmatch(r"[\d.]+(e\d+)?\s*[kKMBGT]?", model) else [model]
    if (hardware := form["hardware"].strip()) != THIS:
        words += ["--gpu", hardware]
    options = {
        "gpus": (str(request.mesh.devices), "1"), "zero": (str(request.zero), "0"), "seq": (str(request.seq_len), ""),
        "micro-batch": (str(request.micro_batch), "1"), "accum": (str(request.grad_accum), "1"),
        "precision": (request.precision, BY_KEY["precision"].start), "optimizer": (request.optimizer, "adamw"),
        "recompute": (request.recompute, "none"), "loss": ("" if form["loss"] == "auto" else form["loss"], ""),
        "method": (form["method"], "full"), "country": (form["grid"], "world"),
        "price": ("" if form["price"].strip() in ("", LIST) else f"{request.economy.price_usd_per_gpu_hour:g}", ""),
        "tokens": ("" if form["length"].strip() in ("", OPTIMAL) else f"{request.tokens:.17g}", ""),
    }  # fmt: skip
    for name, (value, default) in options.items():
        if value != default:
            words += [f"--{name}", value]
    untold = () if form["memory"].strip() in ("", PRESET) else (f"memory {form['memory'].strip()}",)
    return shlex.join(words), untold
