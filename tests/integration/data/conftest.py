"""A small mixed corpus, and a way to prepare it in this process or in another."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuitrain.config.schema import DataSection, SourceSection, TokenizerSection
from tuitrain.data import prepare

SHARD_TOKENS = 3000

CHILD = """
import sys, time
from pathlib import Path
from tuitrain.config.schema import DataSection, TokenizerSection
from tuitrain.data import prepare, tokenize

tokenize._BATCH_CHARS = 4000
data = DataSection.model_validate_json(sys.argv[1])
tokenizer = TokenizerSection.model_validate_json(sys.argv[2])

def progress(message):
    print(message.phase, flush=True)
    if message.phase == "tokenize":
        time.sleep(float(sys.argv[4]))

prepared = prepare(
    data, tokenizer, vocab_size=320, cache_dir=Path(sys.argv[3]), threads=2, progress=progress, shard_tokens=int(sys.argv[5])
)
print("content", prepared.content_hash, flush=True)
"""


def sentences(seed, count):
    rng = random.Random(seed)
    words = ["alpha", "beta", "gamma_1", "delta", "x = 1", "\u4e2d\u6587", "don't", "(", ")", "\n    ", "return", "12345"]
    for _ in range(count):
        yield " ".join(rng.choice(words) for _ in range(rng.randrange(3, 60)))


@pytest.fixture
def corpus(tmp_path):
    """DataSection of three sources: a compressed JSONL with bad rows, a folder of text, a Parquet file."""
    root = tmp_path / "corpus"
    (root / "folder" / "sub").mkdir(parents=True)
    rows = [json.dumps({"text": text}) for text in sentences(1, 400)]
    rows[7], rows[200], rows[399] = "{broken", '{"text": null}', '{"txt": "x"}'
    (root / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode(), mtime=0))
    for number, text in enumerate(sentences(2, 120)):
        (root / "folder" / ("sub" if number % 2 else ".") / f"{number:03d}.txt").write_text(text)
    (root / "folder" / "empty.txt").write_text("")
    pq.write_table(pa.table({"body": list(sentences(3, 150))}), root / "rows.parquet", row_group_size=40)
    for path in root.rglob("*"):
        os.utime(path, (10**9, 10**9))  # old enough for their fingerprints to be remembered
    return DataSection(
        sources=(
            SourceSection(path=root / "rows.jsonl.gz", weight=2.0),
            SourceSection(path=root / "folder"),
            SourceSection(path=root / "rows.parquet", text_key="body"),
        ),
        validation_frac=0.1,
    )


def run(data, cache_dir, tokenizer=None, progress=lambda message: None, vocab_size=320, **options):
    """prepare() with small shards."""
    options = {"shard_tokens": SHARD_TOKENS, "threads": 1} | options
    tokenizer = tokenizer or TokenizerSection()
    return prepare(data, tokenizer, vocab_size=vocab_size, cache_dir=cache_dir, progress=progress, **options)


def child_command(data, cache_dir, pause_s=0.0):
    """Command line of a process that prepares the same, slowly."""
    arguments = [data.model_dump_json(), TokenizerSection().model_dump_json(), str(cache_dir), str(pause_s), str(SHARD_TOKENS)]
    return [sys.executable, "-c", CHILD, *arguments]


def child_environment():
    """Its environment: the same import paths."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def tree(cache_dir: Path):
    """Hash of every file of the cache that readers look at."""
    return {
        path.relative_to(cache_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("tokens", "tokenizers")
        for path in sorted((cache_dir / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def tools():
    """The functions above, for tests that cannot import a conftest."""
    return SimpleNamespace(run=run, child_command=child_command, child_environment=child_environment, tree=tree)
