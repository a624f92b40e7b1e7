"""The model card of a run: what it started from, what it read, how it was trained, what that took, how it was judged.

Everything is read from the run's own files; what was not measured says so. Markdown with the head Hugging Face reads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from tuitrain.events import RunState, fold, read_events
from tuitrain.files import read_json, write_atomic
from tuitrain.runs.data_facts import FILE as DATA_FILE
from tuitrain.text import clean_line

FILE: Final = "model_card.md"


def write_card(run_dir: Path) -> Path:
    """Make the card, or make it anew."""
    path = run_dir / FILE
    write_atomic(path, card(run_dir))
    return path


def card(run_dir: Path) -> str:
    """The card as Markdown."""
    resolved = read_json(run_dir / "resolved.json") or {}
    state = fold(read_events(run_dir / "events"))
    config = resolved.get("config", {})
    sections = [
        _head(config),
        f"# {clean_line(config['run']['name'])}\n\n{_summary(config, resolved)}",
        _table("Data", ["source", "examples", "format", "until", "SHA-256 of its content"], _data(run_dir)),
        _table("Method", ["", "", "why"], _method(config, resolved)),
        _table("Evaluation", ["step", "held-out loss (nats per token)", "bits per byte"], _evaluation(state)),
        _table("Cost", ["", ""], _cost(run_dir, state)),
        _table("Checks before the start", ["", "check", "found"], _flight(run_dir)),
        "Written by tuitrain from the run's own files.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(config: dict[str, Any]) -> str:
    base, method = config["model"].get("base"), config["method"]["kind"]
    lines = ["---", "library_name: " + ("peft" if method in ("lora", "qlora") else "transformers")]
    if base:
        lines.append(f"base_model: {clean_line(Path(base).name)}")
    return "\n".join([*lines, f"tags: [tuitrain, {config['run']['stage']}]", "---"])


def _reason(resolved: dict[str, Any], key: str) -> str:
    return next((str(each["reason"]) for each in resolved.get("derived", []) if each["key"] == key), "as asked for")


def _summary(config: dict[str, Any], resolved: dict[str, Any]) -> str:
    stage, base = config["run"]["stage"], config["model"].get("base")
    words = {
        "pretrain": "trained from nothing",
        "midtrain": "pretrained further",
        "sft": "fine-tuned",
        "dpo": "preference-tuned",
    }
    if base is None:
        return f"A language model {words[stage]}."
    return f"{words[stage].capitalize()} from {clean_line(_reason(resolved, 'model.base'))}."


def _data(run_dir: Path) -> list[list[str]]:
    facts = read_json(run_dir / DATA_FILE) or {"sources": []}
    return [
        [
            each["name"],
            str(each.get("items", "")),
            str(each.get("format", "text")),
            each["cutoff"],
            str(each["content_hash"])[:16],
        ]
        for each in facts["sources"]
    ]


_TOLD: Final = (
    "method.kind", "method.rank", "method.alpha", "method.targets", "method.quant", "preference.loss", "preference.beta",
    "train.steps", "train.seq_len", "train.batch_tokens", "train.precision", "data.packing", "optim.kind", "optim.lr",
    "optim.weight_decay", "schedule.kind", "schedule.warmup_steps", "run.seed",
)  # fmt: skip


def _method(config: dict[str, Any], resolved: dict[str, Any]) -> list[list[str]]:
    rows = []
    for key in _TOLD:
        section, name = key.split(".")
        adapter = config["method"]["kind"] in ("lora", "qlora")
        if (section == "preference" and config["run"]["stage"] != "dpo") or (
            key in ("method.rank", "method.alpha", "method.targets") and not adapter
        ):
            continue
        if key == "method.quant" and config["method"]["kind"] != "qlora":
            continue
        rows.append([key, str(config[section][name]), _reason(resolved, key)])
    return rows


def _evaluation(state: RunState) -> list[list[str]]:
    columns = [state.evals.column(name).tolist() for name in ("step", "loss", "bits_per_byte")]
    rows = [
        [str(int(step)), f"{loss:.4f}", f"{bits:.4f}" if math.isfinite(bits) else "-"]
        for step, loss, bits in zip(*columns, strict=True)
    ]
    return [rows[0], *rows[-1:]] if len(rows) > 1 else rows


def _cost(run_dir: Path, state: RunState) -> list[list[str]]:
    seconds = float(state.steps.column("step_s").sum() + state.evals.column("eval_s").sum())
    environment, plan = read_json(run_dir / "environment.json") or {}, read_json(run_dir / "plan.json") or {}
    power = [
        event.number("power_w") for event in read_events(run_dir / "events") if event.kind == "step" and "power_w" in event.data
    ]
    rows = [["training and evaluating", f"{seconds / 3600:.3f} h"]]
    machine = environment.get("machine", {})
    gpus = ", ".join(str(gpu.get("name")) for gpu in machine.get("gpus", []))
    rows.append(["machine", gpus or f"{machine.get('cpu', 'unknown')}, {machine.get('physical_cores', '?')} cores"])
    rows += _memory(state, plan)
    if power:
        kwh = sum(power) / len(power) * seconds / 3.6e6
        rows.append(["energy measured", f"{kwh:.4f} kWh at {sum(power) / len(power):.0f} W, as the device's driver tells"])
    else:
        rows.append(["energy measured", "not: nothing on this machine tells its power"])
    planned = plan.get("energy", {}).get("kwh")
    if isinstance(planned, dict) and planned.get("mid") is not None:
        rows.append(
            [
                "energy planned",
                f"{planned['mid']:.4f} kWh, {plan['energy'].get('kg_co2e', {}).get('mid', float('nan')):.4f} kg CO2e",
            ]
        )
    usd = plan.get("cost", {}).get("usd")
    price = (
        f"${usd['mid']:.2f} planned"
        if isinstance(usd, dict) and usd.get("mid") is not None
        else "no price known for this machine"
    )
    rows.append(["money", price])
    return rows


def _memory(state: RunState, plan: dict[str, Any]) -> list[list[str]]:
    """Peak memory of the process, or of the fullest and the emptiest of several, and the plan's; then the ranks' shares."""
    ranks = state.present_ranks
    peaks = {rank.rank: rank.peak_bytes for rank in ranks if math.isfinite(rank.peak_bytes)}
    if len(ranks) < 2 or not peaks:
        rows = [["peak memory", f"{float(state.steps.column('peak_bytes').max(initial=0)) / 2**30:.2f} GiB"]]
    else:
        fullest, emptiest = max(peaks, key=peaks.__getitem__), min(peaks, key=peaks.__getitem__)
        rows = [
            [
                "peak memory of a process",
                f"{peaks[fullest] / 2**30:.2f} GiB (rank {fullest}, the fullest of {len(ranks)}) to "
                f"{peaks[emptiest] / 2**30:.2f} GiB (rank {emptiest})",
            ]
        ]
    planned = (plan.get("run") or {}).get("peak_bytes")
    if isinstance(planned, (int, float)):
        rows.append(["peak memory planned", f"{planned / 2**30:.2f} GiB"])
    shares = [share for rank in ranks if math.isfinite(share := rank.communicating_frac(state.begin_ns))]
    if shares:
        rows.append(["communicating", f"{min(shares):.0%} to {max(shares):.0%} of the step, by rank"])
    return rows


def _flight(run_dir: Path) -> list[list[str]]:
    found = read_json(run_dir / "flight.json")
    return [[each["severity"], each["check"], each["message"]] for each in found] if isinstance(found, list) else []


def _table(title: str, header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    # Text of data and models is untrusted: one line, and nothing that ends a cell.
    lines += ["| " + " | ".join(clean_line(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"## {title}\n\n" + "\n".join(lines)
