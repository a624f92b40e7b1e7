"""`tuitrain export RUN`: a merged model folder, a GGUF file with an Ollama Modelfile, or the adapter alone - each verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    run: Annotated[str, typer.Argument(help="A run (id, part of it, `latest`), or a checkpoint or model folder.")],
    to: Annotated[
        str, typer.Option(help="hf (merged Hugging Face folder) | gguf (file and Ollama Modelfile) | adapter.")
    ] = "hf",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to. Default: RUN-hf, RUN-gguf ... here.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="hf: bf16, fp32 or f16. gguf: f16, q8_0, bf16 or f32. Default: bf16; gguf f16.")
    ] = None,
    onto: Annotated[
        str,
        typer.Option(help="What a QLoRA adapter is merged into: dequantised (what it was trained beside) or original weights."),
    ] = "dequantised",
    step: Annotated[int | None, typer.Option(help="Checkpoint of this step instead of the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> int:
    """Export a trained model. It is loaded again and compared with the trained one; what differs is not kept."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show, show_json
    from tuitrain.errors import UsageError
    from tuitrain.runs.exporting import run_export

    kinds = {"hf": ("bf16", "fp32", "f16"), "gguf": ("f16", "q8_0", "bf16", "f32"), "adapter": ("bf16",)}
    if to not in kinds:
        raise UsageError(f"--to {to}", f"one of {', '.join(kinds)}")
    chosen = dtype or kinds[to][0]
    if chosen not in kinds[to]:
        raise UsageError(f"--dtype {chosen} of --to {to}", f"one of {', '.join(kinds[to])}")
    if onto not in ("dequantised", "original"):
        raise UsageError(f"--onto {onto}", "dequantised or original")
    name, folder = _checkpoint(run, step)
    target = (out or Path(f"{name}-{to}")).expanduser().resolve()
    facts = run_export(folder, target, to=to, dtype=chosen, onto=onto, say=say)
    if as_json:
        show_json({"path": str(target), **facts})
        return 0
    show(f"{target}")
    show(f"  what    {facts['rule']}")
    if "verified" in facts:
        found = facts["verified"]
        show(
            f"  checked {found['tokens']} tokens of greedy answers: {found['same_greedy_frac']:.0%} the same, "
            f"{found['mean_kl_nats']:.1e} nats apart, logits by at most {found['max_logit_difference']:.1e} ({found['kind']})"
        )
    for note in facts.get("notes", []):
        show(f"  note    {note}")
    if "against_trained" in facts:
        other = facts["against_trained"]
        show(
            f"  but     merged into the original weights it is another function than was trained: "
            f"{other['mean_kl_nats']:.1e} nats apart, {other['same_greedy_frac']:.0%} the same"
        )
    if to == "gguf":
        show(f"  try     cd {target} && ollama create {name.lower()} -f Modelfile && ollama run {name.lower()}")
    elif to == "hf":
        show(f"  try     tuitrain chat {target}")
    return 0


def _checkpoint(name: str, step: int | None) -> tuple[str, Path]:
    from tuitrain.cli.context import find
    from tuitrain.errors import UsageError

    path = Path(name).expanduser()
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        return path.resolve().name, path.resolve()
    run = find(name)
    if step is not None and step not in run.checkpoint_steps():
        known = ", ".join(map(str, run.checkpoint_steps())) or "none"
        raise UsageError(f"{run.run_id} has no checkpoint of step {step}", f"there are: {known}")
    folder = run.model_dir() if step is None else run.checkpoints_dir / f"step-{step:08d}"
    if folder is None:
        raise UsageError(f"{run.run_id} has no checkpoint yet", f"`tuitrain runs save {run.run_id}` makes one")
    return run.run_id, folder
