"""Which tensor of a Hugging Face folder becomes which tensor of a GGUF file, and how its numbers are laid out and stored.

Nothing is read until a tensor is written: a plan holds names, shapes and the way to get the values. Names come from the `gguf`
package's own map; layouts from llama.cpp's converter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuitrain.errors import CheckpointError
from tuitrain.model.gguf_families import Family
from tuitrain.model.gguf_rotary import rotary_tensors
from tuitrain.model.gguf_weights import Weights

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

_IGNORED = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(masked_)?bias$")
_ALWAYS_F32 = re.compile(r"_norm\.weight$|\.ffn_gate_inp(_shexp)?\.weight$|^position_embd\.weight$")
_EXPERT = re.compile(r"(?P<layer>.*)\.(?:block_sparse_moe|mlp)\.experts\.(?P<index>\d+)\.(?P<part>\w+)\.weight")
_FUSED = re.compile(r"(?P<layer>.*)\.(?:block_sparse_moe|mlp)\.experts\.(?P<part>gate_up_proj|down_proj)")
_PARTS: Final = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
_GPT2_MATRIX = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTensor:
    """One tensor of the file. `parts` give its values; more than one are stacked, as experts are."""

    name: str
    shape: tuple[int, ...]
    stored_as: GGMLQuantizationType
    parts: tuple[Callable[[], Tensor], ...]

    def stored_shape(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of the array that is written: bytes, where numpy has no such type."""
        import gguf

        plain = {gguf.GGMLQuantizationType.F32: np.float32, gguf.GGMLQuantizationType.F16: np.float16}
        if self.stored_as in plain:
            return self.shape, np.dtype(plain[self.stored_as])
        return gguf.quant_shape_to_byte_shape(self.shape, self.stored_as), np.dtype(np.uint8)

    def num_bytes(self) -> int:
        """What it takes in the file."""
        shape, dtype = self.stored_shape()
        return math.prod(shape) * dtype.itemsize

    def data(self) -> NDArray[Any]:
        """The values as they are stored; one part at a time is in memory as float32."""
        import gguf

        stored = [gguf.quants.quantize(np.ascontiguousarray(part().numpy()), self.stored_as) for part in self.parts]
        return np.stack(stored) if len(self.shape) == 3 else stored[0]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a GGUF tensor comes from, under the name that transformers would give it."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[Callable[[], Tensor], ...]


def plan_tensors(weights: Weights, family: Family, config: dict[str, Any], kind: str) -> list[PlannedTensor]:
    """Every tensor of the file, in the order written. CheckpointError if one has no place, or a place stays empty."""
    import gguf

    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family.arch)
    layers = int(config["num_hidden_layers"] if "num_hidden_layers" in config else config["n_layer"])
    names = gguf.get_tensor_name_map(arch, layers)
    planned = {}
    for source in _sources(weights, family, config):
        name = names.get_name(source.name, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise CheckpointError(
                f"the tensor {source.name} has no place in a GGUF file of {family.arch}",
                "adapters and value heads have to be merged or removed first",
            )
        planned[name] = _planned(name, source.shape, kind, source.parts)
    for name, tensor in rotary_tensors(config):
        planned[name] = _planned(name, tuple(tensor.shape), kind, (partial(torch.clone, tensor),))
    _check_complete(set(planned), layers, tied=bool(config.get("tie_word_embeddings")))
    return sorted(planned.values(), key=lambda tensor: _order(tensor.name))


def _planned(name: str, shape: tuple[int, ...], kind: str, parts: tuple[Callable[[], Tensor], ...]) -> PlannedTensor:
    import gguf

    stored_as = gguf.GGMLQuantizationType[kind.upper()]
    if len(shape) == 1 or _ALWAYS_F32.search(name):  # llama.cpp's kernels for these know no other type
        stored_as = gguf.GGMLQuantizationType.F32
    elif shape[-1] % gguf.GGML_QUANT_SIZES[stored_as][0]:  # as llama.cpp does for rows that do not fill blocks
        stored_as = gguf.GGMLQuantizationType.F16
    return PlannedTensor(name=name, shape=shape, stored_as=stored_as, parts=parts)


def _sources(weights: Weights, family: Family, config: dict[str, Any]) -> Iterator[_Source]:
    shapes = weights.shapes()
    experts: dict[str, dict[int, str]] = {}
    for name, shape in shapes.items():
        if _IGNORED.search(name) or (name == "lm_head.weight" and config.get("tie_word_embeddings")):
            continue
        if expert := _EXPERT.fullmatch(name):
            part = _PARTS.get(expert["part"], expert["part"])
            experts.setdefault(f"{expert['layer']}.mlp.experts.{part}.weight", {})[int(expert["index"])] = name
        elif fused := _FUSED.fullmatch(name):
            yield from _fused_experts(weights, name, shape, fused["layer"], fused["part"])
        else:
            yield _plain(weights, family, config, name, shape)
    for stacked, files in experts.items():
        if sorted(files) != list(range(len(files))):
            raise CheckpointError(f"{stacked} has experts {sorted(files)}; some are missing", "write the folder anew")
        ordered = [files[index] for index in range(len(files))]
        readers = tuple(partial(weights.read, name) for name in ordered)
        yield _Source(stacked, (len(ordered), *shapes[ordered[0]]), readers)


def _fused_experts(weights: Weights, name: str, shape: tuple[int, ...], layer: str, part: str) -> Iterator[_Source]:
    """transformers 5 keeps (experts, out, in), with the gate's rows above those of `up`."""
    halves = {"down_proj": slice(0, shape[1])}
    if part == "gate_up_proj":
        halves = {"gate_proj": slice(0, shape[1] // 2), "up_proj": slice(shape[1] // 2, shape[1])}
    for half, rows in halves.items():
        readers = tuple(partial(weights.read, name, (expert, rows)) for expert in range(shape[0]))
        yield _Source(f"{layer}.mlp.experts.{half}.weight", (shape[0], rows.stop - rows.start, shape[2]), readers)


def _plain(weights: Weights, family: Family, config: dict[str, Any], name: str, shape: tuple[int, ...]) -> _Source:
    change: Callable[[Tensor], Tensor] = lambda tensor: tensor  # noqa: E731
    if family.interleave_rotary and (heads := _rotated_heads(name, config)):
        change = lambda tensor: interleave(tensor, heads)  # noqa: E731
    elif family.norm_offset and name.endswith("norm.weight"):
        change = lambda tensor: tensor + family.norm_offset  # noqa: E731
    elif family.transposed_linear:
        name = name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
        if _GPT2_MATRIX.search(name):
            shape, change = shape[::-1], lambda tensor: tensor.T
    elif name.endswith("shared_expert_gate.weight"):
        shape, change = shape[1:], lambda tensor: tensor[0]
    original = name if name in weights.shapes() else name.removeprefix("transformer.")
    return _Source(name, shape, (lambda: change(weights.read(original)),))


def _rotated_heads(name: str, config: dict[str, Any]) -> int:
    if re.search(r"\.q_proj\.(weight|bias)$", name):
        return int(config["num_attention_heads"])
    if re.search(r"\.k_proj\.(weight|bias)$", name):
        return int(config.get("num_key_value_heads") or config["num_attention_heads"])
    return 0


def interleave(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head from (first halves, second halves) to pairs: what llama.cpp's rotation takes for neighbours."""
    return tensor.reshape(heads, 2, -1, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)


def _check_complete(names: set[str], layers: int, *, tied: bool) -> None:
    wanted = {"token_embd.weight", "output_norm.weight"} | (set() if tied else {"output.weight"})
    per_layer = {name.split(".", 2)[2] for name in names if name.startswith("blk.")}
    wanted |= {f"blk.{layer}.{name}" for layer in range(layers) for name in per_layer}
    if missing := sorted(wanted - names):
        raise CheckpointError(f"the folder lacks {', '.join(missing[:4])}", "write the model folder anew")


def _order(name: str) -> tuple[int, int, str]:
    block = re.match(r"blk\.(\d+)\.", name)
    return (1, int(block[1]), name) if block else (0 if name.startswith("token_embd") else 2, 0, name)
