"""A GGUF file to a Hugging Face folder, dequantised by transformers' own GGUF loader.

Also a program, for a front end without torch:

    python -m tuitrain.model.gguf_read FILE FOLDER [--dtype float16]

Its last line on stdout is {"ok": true, "notes": [...]} or {"error": "...", "hint": "..."}; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuitrain.data.extras import load_extra
from tuitrain.errors import CheckpointError, EnvironmentError_, TuitrainError, UsageError
from tuitrain.files import fsync_dir
from tuitrain.model.gguf_config import Metadata, complete
from tuitrain.model.gguf_tokenizer import read_tokenizer

if TYPE_CHECKING:
    import gguf

Dtype = Literal["float16", "bfloat16", "float32"]
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_FILE = "model.gguf"


def import_gguf(file: Path, folder: Path, *, dtype: Dtype = "float16", notes: list[str] | None = None) -> None:
    """Write `folder` (which must not exist, or be empty) with config, weights as `dtype`, tokenizer and chat template.

    float16 holds what quantised files say most exactly of the two half types. What could not be carried over is appended to
    `notes`; without a list, it is a warning.
    """
    if dtype not in _BYTES:
        raise UsageError(f"no dtype {dtype!r}", f"choose one of {', '.join(_BYTES)}")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "name a folder that does not exist yet")
    data = Metadata(_open(file))
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(data, folder, dtype)
    found: list[str] = []
    staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with (
            tempfile.TemporaryDirectory() as alone
        ):  # beside other files, transformers would take their tokenizer for this one's
            (Path(alone) / _FILE).symlink_to(file.resolve())
            _write_model(Path(alone), staged, data, file, dtype)
            found = read_tokenizer(Path(alone), _FILE, staged, data)
        staged.chmod(0o755)  # mkdtemp's folders are their owner's only
        staged.replace(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    fsync_dir(folder.parent)
    for note in found:
        if notes is None:
            warnings.warn(note, stacklevel=2)
        else:
            notes.append(note)


def _open(file: Path) -> gguf.GGUFReader:
    package = load_extra("gguf", "reading GGUF")
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}", "name a .gguf file") from error
    if magic != b"GGUF":
        raise CheckpointError(f"{file} is not a GGUF file: it begins with {magic!r}", "GGUF files begin with b'GGUF'")
    try:
        reader: gguf.GGUFReader = package.GGUFReader(file)
        parts = reader.get_field("split.count")
        count = int(parts.contents()) if parts is not None else 1
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:  # what reading past an end looks like
        raise CheckpointError(
            f"{file} ends too early or is damaged ({file.stat().st_size:,} bytes; {error})", "fetch or write the file anew"
        ) from error
    if count > 1:
        raise CheckpointError(f"{file} is one of {count} parts", "join them first: llama-gguf-split --merge")
    return reader


def _check_space(data: Metadata, folder: Path, dtype: Dtype) -> None:
    needed = sum(int(tensor.n_elements) for tensor in data.tensors.values()) * _BYTES[dtype]
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise EnvironmentError_(
            f"{folder.name} needs {needed / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} GB free",
            "free some, or write elsewhere",
        )


def _write_model(source: Path, staged: Path, data: Metadata, file: Path, dtype: Dtype) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, GgufConfig

    try:
        raw = AutoConfig.from_pretrained(source, gguf_file=_FILE)
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            f"{file} holds architecture {data.arch!r}, which transformers cannot read", "use the model's Hugging Face folder"
        ) from error
    fields = complete(raw.to_dict(), data)
    config = AutoConfig.for_model(**fields)
    try:
        # without `dequantize` the model comes with a quantiser attached, and can be neither trained nor saved
        model, loading = AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=_FILE,
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise CheckpointError(f"transformers cannot read the tensors of {file}: {_first_line(error)}") from error
    if loading["missing_keys"]:  # they would be random numbers
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise CheckpointError(
            f"{file} has no tensor for {missing}", f"transformers reads {data.arch} otherwise than it was written"
        )
    model.generation_config = GenerationConfig(**_token_ids(data))
    model.save_pretrained(staged)


def _token_ids(data: Metadata) -> dict[str, Any]:
    ids = {
        role: data.get(f"tokenizer.ggml.{key}_token_id") for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    turn = data.get("tokenizer.ggml.eot_token_id")
    if turn is not None and ids["eos"] is not None and turn != ids["eos"]:
        return {f"{role}_token_id": number for role, number in ids.items()} | {"eos_token_id": [ids["eos"], turn]}
    return {f"{role}_token_id": number for role, number in ids.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:300]


def main(arguments: list[str] | None = None) -> int:
    """The program: one line of JSON on what was stdout; what libraries print goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tuitrain.model.gguf_read")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=list(_BYTES), default="float16")
    asked = parser.parse_args(arguments)
    sys.stdout.flush()
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # below Python too: extensions print by themselves
    notes: list[str] = []
    answer: dict[str, Any] = {"ok": True, "notes": notes}
    code = 0
    try:
        import_gguf(asked.file, asked.folder, dtype=asked.dtype, notes=notes)
    except TuitrainError as error:
        answer, code = {"error": error.message, "hint": error.hint}, error.exit_code
    except Exception as error:  # the process's edge: the parent learns what happened, whatever it was
        answer, code = {"error": f"{type(error).__name__}: {_first_line(error)}", "hint": ""}, 1
    with os.fdopen(answer_fd, "w") as out:
        out.write(json.dumps(answer) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
