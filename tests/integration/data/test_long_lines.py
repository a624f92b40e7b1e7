"""One line of megabytes: bounded memory, nothing lost, nothing slow."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from tuitrain.config.schema import DataSection, SourceSection
from tuitrain.data import EOS, Tokenizer, train_bpe


@pytest.mark.parametrize("unit", ["a", "0123456789abcdef", "no line ends here "])
@pytest.mark.parametrize("name", ["line.txt", "line.jsonl"])
def test_a_line_of_five_megabytes_is_read_and_comes_back_whole(tmp_path, tools, name, unit):
    text = unit * (5_000_000 // len(unit))
    others = [f"a short row, number {number}" for number in range(40)]
    path, held_out = tmp_path / name, tmp_path / "held_out.txt"
    held_out.write_text("held out")
    if name.endswith(".txt"):
        path.write_text(text)
    else:
        path.write_text("\n".join(json.dumps({"text": each}) for each in [text, *others]))
    data = DataSection(sources=(SourceSection(path=path, validation_path=held_out),))
    prepared = tools.run(data, tmp_path / "cache", shard_tokens=1 << 20, threads=2)
    train = prepared.sources[0].train
    back = prepared.tokenizer.decode(train.tokens(0, train.num_tokens))
    assert back == (text if name.endswith(".txt") else "".join([text, *others]))
    assert prepared.train_bytes == len(back)


CHILD = """
import resource, sys
from pathlib import Path
from tuitrain.config.schema import DataSection, SourceSection, TokenizerSection
from tuitrain.data import prepare

source = SourceSection(path=Path(sys.argv[1]))
prepared = prepare(
    DataSection(sources=(source,)), TokenizerSection(), vocab_size=300, cache_dir=Path(sys.argv[2]), threads=2,
    progress=lambda message: None,
)
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(prepared.train_bytes + prepared.validation_bytes, prepared.report.total, peak_kib)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line.txt", "line.jsonl"])
def test_a_line_of_a_hundred_megabytes_takes_bounded_memory(tmp_path, name):
    path = tmp_path / name
    rows = [f"row {number}" for number in range(200)]
    with path.open("w") as file:
        if name.endswith(".jsonl"):
            file.writelines(f'{{"text": "{row}"}}\n' for row in rows)
            file.write('{"text": "')
        for number in range(100):
            file.write(f"{number:03d}" + "c" * 999_997)
        if name.endswith(".jsonl"):
            file.write('"}\n{"text": "after"}\n')
    command = [sys.executable, "-c", CHILD, str(path), str(tmp_path / "cache")]
    done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True)
    total_bytes, bad_rows, peak_kib = map(int, done.stdout.split())
    assert peak_kib < 600 * 1024, f"peak of {peak_kib >> 10} MiB for a line of 100 MB"
    if name.endswith(".txt"):
        assert (total_bytes, bad_rows) == (100_000_000, 0)
    else:
        assert (total_bytes, bad_rows) == (sum(map(len, [*rows, "after"])), 1)


@pytest.mark.slow
def test_a_text_of_a_hundred_megabytes_is_encoded_in_bounded_pieces():
    tokenizer = Tokenizer.from_json(train_bpe(["a b c ab abc"], 300), name="small", eos=EOS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = "a" * 100_000_000
    (ids,) = tokenizer.encode_batch([text], 2)
    assert tokenizer.decode_bytes(ids) == text.encode()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown < 2000, f"{grown} MiB for 100 MB of text, which are 400 MB of ids"
