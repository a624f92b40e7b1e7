"""The command that says the same as the form: what a user copies, and what runs where there is no interface."""

from __future__ import annotations

import re
import shlex

from tuitrain.tui.plan.fields import ALL_TARGETS, AUTO, BY_KEY, LIST, OPTIMAL, PRESET, Form
from tuitrain.tui.plan.reading import THIS
from tuitrain_planners import ALL_LINEAR, PlanRequest


def plan_command(form: Form, request: PlanRequest) -> str:
    """`tuitrain plan ...`. `request` is what the form asks for."""
    model = form["model"].strip()
    words = ["tuitrain", "plan"]
    words += ["--params", model] if re.fullmatch(r"[\d.]+(e\d+)?\s*[kKMBGT]?", model) else [model]
    if (hardware := form["hardware"].strip()) != THIS:
        words += ["--gpu", hardware]
    mesh = request.mesh
    options = {
        "gpus": (str(mesh.devices), "1"), "tp": (str(mesh.tp), "1"), "pp": (str(mesh.pp), "1"), "cp": (str(mesh.cp), "1"),
        "ep": (str(mesh.ep), "1"), "zero": (str(request.zero), "0"), "seq": (str(request.seq_len), ""),
        "micro-batch": (str(request.micro_batch), "1"), "accum": (str(request.grad_accum), "1"),
        "precision": (request.precision, BY_KEY["precision"].start), "optimizer": (request.optimizer, "adamw"),
        "recompute": (request.recompute, "none"), "offload": (request.offload, "none"),
        "framework": (request.framework, BY_KEY["framework"].start),
        "loss": ("" if form["loss"] == AUTO else form["loss"], ""),
        "method": (form["method"], "full"), **_adapter(request), "country": (form["grid"], "world"),
        "price": ("" if form["price"].strip() in ("", LIST) else repr(request.economy.price_usd_per_gpu_hour), ""),
        "memory": ("" if form["memory"].strip() in ("", PRESET) else form["memory"].replace(" ", ""), ""),
        "tokens": ("" if form["length"].strip() in ("", OPTIMAL) else f"{request.tokens:.17g}", ""),
    }  # fmt: skip
    for name, (value, default) in options.items():
        if value != default:
            words += [f"--{name}", value]
    return shlex.join(words)


def _adapter(request: PlanRequest) -> dict[str, tuple[str, str]]:
    """Options that mean something beside adapters only."""
    if (adapter := request.adapter) is None:
        return {}
    targets = ALL_TARGETS if adapter.targets == ALL_LINEAR else ",".join(adapter.targets)
    return {"rank": (str(adapter.rank), BY_KEY["rank"].start), "targets": (targets, ALL_TARGETS)}
