"""From a checkpoint to something others load: a merged Hugging Face folder, a GGUF file with an Ollama Modelfile, an adapter.

    python -m tuitrain.model.export CHECKPOINT OUT [--to hf|gguf|adapter] [--dtype bf16] [--onto dequantised|original]

Merging is done in fp32. Nothing is called done before it was loaded again from the disk and compared with the trained model
(`verify`); what fails is deleted. stdout carries JSON lines: {"step"} on the way, {"ok"} or {"error", "hint"} at last.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import torch

from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.errors import TuitrainError, UsageError
from tuitrain.files import write_json
from tuitrain.model.adapters import attach
from tuitrain.model.pretrained import LoadOptions, load_base
from tuitrain.model.trained import base_of, is_adapter, load_trained
from tuitrain.model.verify import Answers, Comparison, answer, compare, must_be_same
from tuitrain.runs.card import FILE as CARD

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_COPIED = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja", "generation_config.json",
)  # fmt: skip


def export(checkpoint: Path, out: Path, *, to: str, dtype: str, onto: str, say: Any) -> dict[str, Any]:
    """Make `out`, verified. Returns what was found."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} exists", "name a folder that does not, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        if to == "adapter":
            facts = _adapter(checkpoint, stage)
        else:
            facts = _merged(checkpoint, stage / "hf", dtype=dtype if to == "hf" else "fp32", onto=onto, say=say)
            if to == "gguf":
                facts = _gguf(stage, checkpoint, out.name, dtype, facts, say)
        result = stage if to != "hf" else stage / "hf"
        card = checkpoint.parent.parent / CARD
        if card.is_file():
            shutil.copyfile(card, result / "README.md")
        os.chmod(result, 0o755)  # noqa: PTH101 - mkdtemp made it for its owner alone
        if out.exists():
            out.rmdir()
        result.rename(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return facts


def _adapter(checkpoint: Path, stage: Path) -> dict[str, Any]:
    if not is_adapter(checkpoint):
        raise UsageError(f"{checkpoint} holds a whole model, not an adapter", "--to hf or --to gguf")
    base, facts = base_of(checkpoint)
    for file in checkpoint.iterdir():
        if file.is_file() and file.name not in ("trainer.json", "rng.safetensors", "manifest.json"):
            shutil.copyfile(file, stage / file.name)
    return {"rule": f"the adapter alone; its base is {base}, {facts.get('quant') or 'not quantised'}"}


def _merged(checkpoint: Path, folder: Path, *, dtype: str, onto: str, say: Any) -> dict[str, Any]:
    say("loading the trained model")
    trained = load_trained(checkpoint)
    encoder = ChatEncoder(checkpoint)
    say("asking it")
    before = answer(trained.lm, encoder)
    rule, lm = trained.rule, trained.lm
    original: Comparison | None = None
    if trained.adapted:
        if onto == "original" and trained.quant is not None:
            del lm, trained
            gc.collect()
            base, _ = base_of(checkpoint)
            lm = attach(load_base(base, LoadOptions(dtype=torch.float32), torch.device("cpu")).eval(), checkpoint)
            rule = "the adapter merged into the original weights, not into those it was trained beside"
            original = compare(before, lm, "fp32")
        say("merging in fp32")
        lm = lm.merge_and_unload()
    lm.to(DTYPES[dtype])
    say("writing")
    folder.mkdir(parents=True)
    lm.save_pretrained(folder)
    for name in _COPIED:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    del lm
    gc.collect()
    say("loading it again and comparing")
    found = _compare_folder(before, folder, dtype, against=original)
    facts = {"rule": rule, "dtype": dtype, "verified": found.to_dict()}
    if original is not None:
        facts["against_trained"] = original.to_dict()
    write_json(folder / "export.json", facts)
    return facts


def _compare_folder(before: Answers, folder: Path, dtype: str, *, against: Comparison | None) -> Comparison:
    lm = load_base(folder, LoadOptions(dtype=DTYPES[dtype]), torch.device("cpu")).eval()
    _check_ties(lm, folder)
    found = compare(before, lm, dtype)
    if against is None:  # asked for the original weights: how far that is from the trained function is told, not judged
        must_be_same(found, str(folder.name))
    return found


def _check_ties(lm: Any, folder: Path) -> None:
    """A tied head must be the embedding itself after loading: a copy of its own would drift, an empty one is garbage."""
    if lm.config.get_text_config().tie_word_embeddings:
        head, table = lm.get_output_embeddings(), lm.get_input_embeddings()
        if head.weight.data_ptr() != table.weight.data_ptr():
            raise UsageError(f"{folder.name}: head and embedding are tied in config.json and are not", "please report it")


def _gguf(stage: Path, checkpoint: Path, name: str, kind: str, facts: dict[str, Any], say: Any) -> dict[str, Any]:
    from tuitrain.model.gguf_read import import_gguf
    from tuitrain.model.gguf_write import Kind, write_gguf
    from tuitrain.model.ollama import modelfile

    kind = {"fp32": "f32"}.get(kind, kind)
    say(f"writing GGUF in {kind}")
    notes: list[str] = []
    file = write_gguf(stage / "hf", stage / f"{name}-{kind}.gguf", kind=cast(Kind, kind), name=name, notes=notes)
    encoder = ChatEncoder(checkpoint)
    lm = load_base(stage / "hf", LoadOptions(dtype=torch.float32), torch.device("cpu")).eval()
    before = answer(lm, encoder)
    del lm
    gc.collect()
    say("reading the GGUF file back and comparing")
    import_gguf(file, stage / "back", dtype="float32", notes=notes)
    lm = load_base(stage / "back", LoadOptions(dtype=torch.float32), torch.device("cpu")).eval()
    found = compare(before, lm, kind)
    must_be_same(found, file.name)
    del lm
    gc.collect()
    template = encoder.template
    text = modelfile(file.name, template.source if template else None, special=encoder.special)
    (stage / "Modelfile").write_text(text, encoding="utf-8")
    shutil.rmtree(stage / "hf")
    shutil.rmtree(stage / "back")
    facts = facts | {
        "notes": notes,
        "dtype": kind,
        "verified": found.to_dict(),
        "file": file.name,
        "bytes": file.stat().st_size,
    }
    write_json(stage / "export.json", facts)
    return facts


def main() -> int:
    """The child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--to", default="hf", choices=("hf", "gguf", "adapter"))
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--onto", default="dequantised", choices=("dequantised", "original"))
    asked = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        facts = export(
            asked.checkpoint, asked.out, to=asked.to, dtype=asked.dtype, onto=asked.onto, say=lambda step: tell({"step": step})
        )
    except Exception as error:  # the process boundary: the parent shows it
        known = error if isinstance(error, TuitrainError) else TuitrainError(f"{type(error).__name__}: {error}"[:1000])
        tell({"error": known.message, "hint": known.hint, "exit_code": known.exit_code})
        return 1
    tell({"ok": facts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
