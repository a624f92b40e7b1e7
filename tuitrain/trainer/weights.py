"""What of a model is written into a checkpoint, and how it comes back: all weights, or an adapter alone.

Whatever it is, the folder is one others open: a Hugging Face model, or a peft adapter beside the name and hash of its base. The
tokenizer and the chat template that were trained with lie in it too, so that serving sends what training saw.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from tuitrain.errors import CheckpointError
from tuitrain.files import read_json, write_json
from tuitrain.model.adapters import BASE, adapter_tensors, load_adapter_weights, save_adapter_config
from tuitrain.model.adapters import WEIGHTS as ADAPTER_FILE
from tuitrain.model.decoder import Decoder
from tuitrain.model.hf import WEIGHTS as MODEL_FILE
from tuitrain.model.hf import load_weights, pieces_of, save_config
from tuitrain.model.pretrained import Pretrained
from tuitrain.model.shards import fill
from tuitrain.model.stream import Piece

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja",
)  # fmt: skip


class Weights(Protocol):
    """The trained part of a model, as a checkpoint keeps it."""

    @property
    def file(self) -> str:
        """Name of the file the tensors go into."""

    def pieces(self) -> list[Piece]:
        """The tensors of that file, as this process has them."""

    def write_beside(self, folder: Path) -> None:
        """Everything else: configuration, tokenizer. The main process does."""

    def read(self, folder: Path) -> None:
        """Back, in place."""

    def num_bytes(self) -> int:
        """Bytes it will take on the disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeWeights:
    """Our own decoder."""

    decoder: Decoder
    eos_id: int | None
    save_tokenizer: Callable[[Path], None]
    file: str = MODEL_FILE

    def pieces(self) -> list[Piece]:
        """Tied matrices once."""
        return pieces_of(self.decoder)

    def write_beside(self, folder: Path) -> None:
        """config.json, generation_config.json, tokenizer."""
        save_config(self.decoder, folder, eos_id=self.eos_id)
        self.save_tokenizer(folder)

    def read(self, folder: Path) -> None:
        """Names and shapes must match exactly."""
        load_weights(self.decoder, folder)

    def num_bytes(self) -> int:
        """All of them; tied matrices once."""
        return _bytes(self.decoder)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedWeights:
    """All weights of a transformers model."""

    model: Pretrained
    save_tokenizer: Callable[[Path], None]
    file: str = MODEL_FILE

    def pieces(self) -> list[Piece]:
        """As transformers names them in a file, which for some families is not as they lie in memory."""
        from transformers.core_model_loading import revert_weight_conversion

        lm = self.model.lm
        kept = lm.state_dict().keys()
        tensors = dict(lm.named_parameters()) | {name: each for name, each in lm.named_buffers() if name in kept}
        return [Piece.of(name, tensor) for name, tensor in revert_weight_conversion(lm, tensors).items()]

    def write_beside(self, folder: Path) -> None:
        """Its configurations and the tokenizer."""
        lm = self.model.lm
        config = copy.deepcopy(lm.config)
        config.dtype, config.architectures = str(lm.dtype).removeprefix("torch."), [type(lm).__name__.removeprefix("FSDP")]
        config.save_pretrained(folder)
        if lm.is_remote_code():
            from transformers.dynamic_module_utils import custom_object_save

            custom_object_save(lm, folder, config=config)
        if lm.can_generate():
            lm.generation_config.save_pretrained(folder)
        self.save_tokenizer(folder)

    def read(self, folder: Path) -> None:
        """Through transformers, which knows how a family's weights are laid out; then copied in place."""
        from transformers import AutoModelForCausalLM

        lm = self.model.lm
        saved = AutoModelForCausalLM.from_pretrained(folder, dtype=lm.dtype, use_safetensors=True, trust_remote_code=False)
        for (name, mine), (other, theirs) in zip(lm.named_parameters(), saved.named_parameters(), strict=True):
            assert name == other, f"{name} is not {other}"
            fill(mine, theirs.detach())

    def num_bytes(self) -> int:
        """All of them; tied matrices once."""
        return _bytes(self.model.lm)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterWeights:
    """An adapter; its base stays where it is."""

    model: Pretrained
    base: dict[str, Any]
    save_tokenizer: Callable[[Path], None]
    file: str = ADAPTER_FILE

    def pieces(self) -> list[Piece]:
        """By peft's names."""
        return [Piece.of(name, tensor) for name, tensor in adapter_tensors(self.model.adapted).items()]

    def write_beside(self, folder: Path) -> None:
        """peft's configuration, base.json, tokenizer."""
        save_adapter_config(self.model.adapted, folder, self.base)
        self.save_tokenizer(folder)

    def read(self, folder: Path) -> None:
        """The adapter alone. CheckpointError when it was trained beside another base."""
        saved = read_json(folder / BASE) or {}
        if saved.get("weights_sha256") != self.base["weights_sha256"]:
            raise CheckpointError(
                f"{folder.name} was trained beside another base than {self.base['path']}", "put the original back at its place"
            )
        load_adapter_weights(self.model.adapted, folder)

    def num_bytes(self) -> int:
        """The adapter alone."""
        return sum(each.numel() * each.element_size() for each in self.model.parameters() if each.requires_grad)


def copy_tokenizer(source: Path, folder: Path, *, chat_template: str | None, end_ids: frozenset[int]) -> None:
    """A base's tokenizer beside what was trained, with the template that was trained with."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
        config = read_json(folder / "tokenizer_config.json")
        if isinstance(config, dict) and config.pop("chat_template", None) is not None:
            write_json(folder / "tokenizer_config.json", config)
    generation = read_json(folder / "generation_config.json") or read_json(source / "generation_config.json") or {}
    if end_ids:
        ends = sorted(end_ids)
        write_json(folder / "generation_config.json", generation | {"eos_token_id": ends if len(ends) > 1 else ends[0]})


def _bytes(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
