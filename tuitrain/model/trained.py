"""A trained model as it was trained, loaded for use: a model folder, or an adapter beside the base it learnt beside.

An adapter of QLoRA learnt beside the dequantised 4-bit weights, so it is put beside those: quantised as in training, then
dequantised. Put beside the original weights it is another function (facts: loss 0.068 against 0.013 on what it was trained on).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json
from tuitrain.model.adapters import BASE, CONFIG, attach, check_base
from tuitrain.model.int8_table import round_tables
from tuitrain.model.pretrained import LoadOptions, load_base


@dataclass(slots=True)
class Trained:
    """The model, and how it came to be."""

    lm: Any
    """A transformers model; under an adapter peft's wrapper of it."""
    adapted: bool
    base: Path
    quant: str | None = None
    int8_embedding: bool = False

    @property
    def rule(self) -> str:
        """What the weights are, in words."""
        if not self.adapted:
            return "all weights, as trained"
        kept = {"nf4": "dequantised from NF4", "int8": "dequantised from 8 bits"}.get(self.quant or "", "as they were")
        tables = ", embedding and head from 8 bits" if self.int8_embedding else ""
        return f"the adapter beside its base's weights {kept}{tables}, in fp32"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than a model."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where an adapter's base lies and how it was kept; CheckpointError where it is gone or another."""
    facts = read_json(folder / BASE)
    if not isinstance(facts, dict):
        name = (read_json(folder / CONFIG) or {}).get("base_model_name_or_path")
        if not isinstance(name, str):
            raise CheckpointError(
                f"{folder} does not say which base it belongs to", "give a folder that tuitrain or peft saved"
            )
        facts = {"path": name}
    base = Path(facts["path"])
    if not (base / "config.json").is_file():
        raise CheckpointError(f"the base of this adapter, {base}, is gone", "put it back: the adapter alone is no model")
    check_base(facts, base)
    return base, facts


def load_trained(folder: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Trained:
    """For use: in evaluation mode, without gradients."""
    device = device or torch.device("cpu")
    if not is_adapter(folder):
        lm = load_base(folder, LoadOptions(dtype=dtype), device)
        return Trained(_for_use(lm), adapted=False, base=folder)
    base, facts = base_of(folder)
    lm = load_for_merging(base, facts, dtype=dtype, device=device)
    return Trained(
        _for_use(attach(lm, folder)),
        adapted=True,
        base=base,
        quant=facts.get("quant"),
        int8_embedding=facts.get("embedding") == "int8",
    )


def load_for_merging(base: Path, facts: dict[str, Any], *, dtype: torch.dtype, device: torch.device) -> Any:
    """A base as its adapter saw it, in a plain number format."""
    quant = facts.get("quant")
    options = LoadOptions(dtype=dtype, quant=quant, double_quant=bool(facts.get("double_quant", True)), compute=dtype)
    lm = load_base(base, options, device)
    if quant is not None:
        lm = lm.dequantize()
        lm.config.__dict__.pop("quantization_config", None)
        lm.to(dtype)
        if facts.get("embedding") == "int8":
            round_tables(lm)
    return lm


def _for_use(lm: Any) -> Any:
    lm.eval()
    lm.requires_grad_(False)
    lm.config.use_cache = True
    return lm
