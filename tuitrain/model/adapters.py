"""Adapters by peft: put beside a frozen model, saved without it, merged into it.

An adapter's checkpoint holds the adapter and the name and hash of its base, never the base (a 131 MB adapter that carried its
37 GB base into every save is a peer's bug). What a QLoRA adapter learnt to correct is the dequantised base, so that is what it
is merged into: merged into the 4-bit weights the change is rounded away, merged into the original ones it meets another model.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from tuitrain.config.schema import MethodSection
from tuitrain.errors import CheckpointError, MissingExtraError, UsageError
from tuitrain.files import read_json, write_json
from tuitrain.model.shards import fill
from tuitrain.model.stream import Piece, write_stream

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
BASE: Final = "base.json"
"""Beside an adapter: which base it belongs to and how that was kept."""


def add_adapter(lm: Any, method: MethodSection, base: Path) -> Any:
    """peft's wrapper around `lm`: its own weights frozen, fp32 adapters beside the targets. Changes `lm` in place."""
    peft = _peft()
    targets: Any = None if method.targets == "auto" else list(method.targets)
    config = peft.LoraConfig(
        r=method.rank,
        lora_alpha=2 * method.rank if method.alpha == "auto" else method.alpha,
        lora_dropout=method.dropout,
        use_rslora=method.rslora,
        use_dora=method.dora,
        target_modules="all-linear" if targets in (None, ["all-linear"]) else targets,
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(base),
    )
    try:
        adapted = peft.get_peft_model(lm, config)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, module in lm.named_modules() if isinstance(module, nn.Linear)})
        raise UsageError(
            f"method.targets={targets}: {str(error).splitlines()[0][:200]}", f"linear layers are: {', '.join(names)}"
        ) from error
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:  # moved by rates below a 16-bit step
            assert "lora_" in name, f"{name} is trained beside an adapter"
            parameter.data = parameter.data.float()
    return adapted


def save_adapter(adapted: Any, folder: Path, base: dict[str, Any]) -> None:
    """Write the adapter's weights and configuration, and which base it belongs to."""
    pieces = [Piece.of(name, tensor) for name, tensor in adapter_tensors(adapted).items()]
    write_stream(folder / WEIGHTS, pieces, lambda piece: piece.part.cpu())
    save_adapter_config(adapted, folder, base)


def save_adapter_config(adapted: Any, folder: Path, base: dict[str, Any]) -> None:
    """Write everything but the weights."""
    config = copy.copy(adapted.peft_config["default"])
    config.inference_mode = True
    config.save_pretrained(folder)
    write_json(folder / BASE, base)


def adapter_tensors(adapted: Any) -> dict[str, Any]:
    """The adapter's parameters by the names they have in peft's file."""
    trained = dict(adapted.named_parameters())
    return dict(_peft().get_peft_model_state_dict(adapted, state_dict=trained, save_embedding_layers=False))


def load_adapter_weights(adapted: Any, folder: Path) -> None:
    """Copy an adapter's weights into one of the same shape, in place."""
    from safetensors.torch import load_file

    try:
        state = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors' errors share no base with OSError
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be read: {error}", "use an earlier checkpoint") from error
    mine = adapter_tensors(adapted)
    strange = [name for name in state if name not in mine or mine[name].shape != state[name].shape]
    strange += [name for name in mine if name not in state]
    if strange:
        raise CheckpointError(
            f"{folder.name} holds another adapter ({strange[0]} and {len(strange) - 1} more)",
            "resume with the configuration it was trained with",
        )
    for name, parameter in mine.items():
        fill(parameter, state[name])


def attach(lm: Any, folder: Path) -> Any:
    """peft's wrapper of `lm` with the adapter of a folder, for use and not for training."""
    return _peft().PeftModel.from_pretrained(lm, str(folder), is_trainable=False)


def describe_base(folder: Path, *, quant: str | None, double_quant: bool, embedding: str | None = None) -> dict[str, Any]:
    """What `base.json` says: where the base lies, what it is, how it was kept. `embedding`: "int8" where it and the head were
    in 8 bits."""
    config = read_json(folder / "config.json") or {}
    return {
        "path": str(folder),
        "model_type": config.get("model_type"),
        "quant": quant,
        "double_quant": double_quant if quant == "nf4" else None,
        "embedding": embedding,
        "weights_sha256": weights_hash(folder),
    }


def weights_hash(folder: Path) -> str:
    """One hash over a folder's safetensors: of their headers, sizes and a megabyte at either end and in the middle of each.

    Reading 16 GB at every start would cost a minute; what training changes shows in any piece of a file.
    """
    digest = hashlib.sha256()
    piece = 1 << 20
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as stream:
            for at in (0, max(0, size // 2 - piece // 2), max(0, size - piece)):
                stream.seek(at)
                digest.update(stream.read(piece))
    return digest.hexdigest()


def check_base(base: dict[str, Any], folder: Path) -> None:
    """CheckpointError when a folder is not the base an adapter was trained beside."""
    if base.get("weights_sha256") and weights_hash(folder) != base["weights_sha256"]:
        raise CheckpointError(
            f"{folder} is not the model this adapter was trained beside: its weights have changed",
            "put the original back, or train the adapter anew",
        )


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtraError("peft", "train", "LoRA and QLoRA") from error
    return peft
