"""The package's public names, and what importing it costs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import tuitrain.data


@pytest.mark.parametrize("name", tuitrain.data.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(tuitrain.data, name) is not None
    assert name in dir(tuitrain.data)


def test_no_module_bears_the_name_of_a_public_thing():
    modules = {module.name for module in pkgutil.iter_modules(tuitrain.data.__path__)}
    assert not modules & set(tuitrain.data.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tuitrain.data.nothing  # noqa: B018


def loaded_after(code):
    """Top-level packages loaded by a fresh interpreter that runs `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import tuitrain.data") & {
        "numpy",
        "pydantic",
        "tokenizers",
        "tiktoken",
        "pyarrow",
        "zstandard",
        "torch",
    }


def test_importing_everything_still_loads_neither_torch_nor_any_extra():
    code = "import tuitrain.data\nfor name in tuitrain.data.__all__: getattr(tuitrain.data, name)"
    heavy = {"torch", "transformers", "tokenizers", "tiktoken", "pyarrow", "zstandard", "datasets", "textual", "typer", "rich"}
    assert not loaded_after(code) & heavy


MISSING = {
    "tokenizers": "from tuitrain.data import train_bpe; train_bpe(['a'], 300)",
    "tiktoken": "from tuitrain.data import published_tokenizer; published_tokenizer('gpt2')",
    "zstandard": "from tuitrain.data.sources import FileSource, Gauge; source = FileSource(Path('x.zst'));"
    " list(source.read(source.inputs()[0], after=0, gauge=Gauge()))",
    "pyarrow": "from tuitrain.data.sources import FileSource, Gauge; source = FileSource(Path('x.parquet'));"
    " list(source.read(source.inputs()[0], after=0, gauge=Gauge()))",
}


@pytest.mark.parametrize("package", MISSING)
def test_a_missing_package_names_the_extra(package, tmp_path):
    for name in ("x.zst", "x.parquet"):
        (tmp_path / name).write_bytes(b"content")
    script = f"""
import sys
from pathlib import Path
sys.modules[{package!r}] = None
from tuitrain.errors import MissingExtraError
try:
    exec({MISSING[package]!r})
except MissingExtraError as error:
    print(error)
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert f"needs the package {package!r}" in done.stdout
    assert "pip install 'tuitrain[train]'" in done.stdout
