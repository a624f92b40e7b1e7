"""A Hugging Face model folder to one GGUF file, which llama.cpp, Ollama and LM Studio run.

Tensors are read, laid out, quantised and written one at a time: the model is never in memory. The file appears under its name
when it is complete.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tuitrain.data.extras import load_extra
from tuitrain.errors import EnvironmentError_, UsageError
from tuitrain.files import fsync_dir
from tuitrain.model.gguf_families import add_shape, load_config, window_notes
from tuitrain.model.gguf_tensors import PlannedTensor, plan_tensors
from tuitrain.model.gguf_vocab import Vocabulary, read_vocabulary
from tuitrain.model.gguf_weights import Weights

if TYPE_CHECKING:
    import gguf

Kind = Literal["f32", "f16", "bf16", "q8_0"]
_FILE_TYPES: Final = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}


def write_gguf(
    folder: Path,
    out: Path,
    *,
    kind: Kind,
    name: str | None = None,
    base_model: str | None = None,
    licence: str | None = None,
    notes: list[str] | None = None,
) -> Path:
    """Write the model of `folder` to the file `out`, its matrices stored as `kind`.

    `base_model` is the id `organisation/name` of what was fine-tuned, `licence` its SPDX id. What the file cannot carry over is
    appended to `notes`, one sentence each; without a list, it is a warning.
    """
    if kind not in _FILE_TYPES:
        raise UsageError(f"no GGUF type {kind!r}", f"choose one of {', '.join(_FILE_TYPES)}")
    package = load_extra("gguf", "writing GGUF")
    family, config = load_config(folder)
    with Weights(folder) as weights:
        tensors = plan_tensors(weights, family, config, kind)
        rows = next(tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")
        config["vocab_size"] = rows
        vocabulary = read_vocabulary(folder, rows)
        with _staged(out, sum(tensor.num_bytes() for tensor in tensors)) as staged:
            writer: gguf.GGUFWriter = package.GGUFWriter(staged, family.arch)
            _add_general(writer, kind, tensors, name or folder.resolve().name, base_model, licence)
            add_shape(writer, family, config)
            vocabulary.add_to(writer)
            _write(writer, tensors)
    _report(window_notes(config), vocabulary, notes)
    return out


def _write(writer: gguf.GGUFWriter, tensors: list[PlannedTensor]) -> None:
    for tensor in tensors:
        shape, dtype = tensor.stored_shape()
        writer.add_tensor_info(tensor.name, shape, dtype, tensor.num_bytes(), raw_dtype=tensor.stored_as)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor.data())
    writer.flush()
    writer.close()


def _add_general(
    writer: gguf.GGUFWriter, kind: Kind, tensors: list[PlannedTensor], name: str, base_model: str | None, licence: str | None
) -> None:
    import gguf

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_size_label(_size_label(tensors))
    if licence:
        writer.add_license(licence)
    if base_model:
        organisation, _, short = base_model.rpartition("/")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, short)
        if organisation:
            writer.add_base_model_organization(0, organisation)
            writer.add_base_model_repo_url(0, f"https://huggingface.co/{base_model}")
    writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _size_label(tensors: list[PlannedTensor]) -> str:
    """`135M`, or `8x7B` where experts share the work: what goes into file names."""
    import gguf

    stacks = [tensor for tensor in tensors if "_exps." in tensor.name]
    experts = stacks[0].shape[0] if stacks else 0
    in_experts = sum(math.prod(tensor.shape) for tensor in stacks)
    total = sum(math.prod(tensor.shape) for tensor in tensors)
    return str(gguf.size_label(total, total - in_experts, in_experts // max(experts, 1), experts))


@contextlib.contextmanager
def _staged(out: Path, needed_bytes: int) -> Iterator[Path]:
    """A file beside `out` that takes its name if all goes well, and vanishes otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(out.parent).free
    if needed_bytes > free_bytes:
        raise EnvironmentError_(
            f"{out.name} needs {needed_bytes / 1e9:.1f} GB, and {out.parent} has {free_bytes / 1e9:.1f} GB free",
            "free some, or write elsewhere",
        )
    fd, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial")
    os.close(fd)
    staged = Path(name)
    try:
        yield staged
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.chmod(0o644)  # mkstemp's files are their owner's only
        staged.replace(out)
    finally:
        staged.unlink(missing_ok=True)
    fsync_dir(out.parent)


def _report(found: list[str], vocabulary: Vocabulary, notes: list[str] | None) -> None:
    for note in [*found, *vocabulary.notes]:
        if notes is None:
            warnings.warn(note, stacklevel=3)
        else:
            notes.append(note)
