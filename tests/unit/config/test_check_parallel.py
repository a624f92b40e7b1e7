"""What cannot be among several processes: refused with the key, the values and what would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuitrain.config.load import load_config
from tuitrain.errors import ConfigError


def problems(*overrides: str) -> dict[str, str]:
    try:
        load_config(None, overrides)
    except ConfigError as error:
        return {each.key: f"{each.message} ({each.hint})" for each in error.problems}
    return {}


SFT = ("run.stage=sft", "model.base=owner/name")


@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        (("parallel.offload=true",), "parallel.offload", "parallel.zero = 3, or 2"),
        (("parallel.offload=true", "parallel.zero=1"), "parallel.offload", "parallel.zero = 1 keeps"),
        (("parallel.reshard=false", "parallel.zero=2"), "parallel.reshard", "parallel.zero = 3, or leave it out"),
        (("parallel.shard_group=2", "run.nproc=4", "train.batch_tokens=4096"), "parallel.shard_group", "parallel.zero = 1, 2"),
        (("parallel.shard_group=3", "parallel.zero=3", "run.nproc=8"), "parallel.shard_group", "nearest that does: 2"),
        (("parallel.shard_group=16", "parallel.zero=3", "run.nproc=8"), "parallel.shard_group", "nearest that does: 8"),
        (("parallel.shard_group=2", "parallel.zero=3"), "parallel.shard_group", "do not divide 1 process"),
        (("optim.kind=adamw-8bit", "parallel.zero=1"), "optim.kind", "optim.kind = 'adamw'"),
        (("optim.kind=adamw-paged", "parallel.zero=3"), "optim.kind", "no sharded tensors"),
        (("optim.kind=adamw-paged-8bit", "parallel.zero=2"), "optim.kind", "no sharded tensors"),
        ((*SFT, "method.kind=qlora", "method.quant=int8", "parallel.zero=2"), "parallel.zero", "scales with them"),
        ((*SFT, "method.kind=qlora", "method.quant=int8", "parallel.zero=3"), "parallel.zero", "method.quant = 'nf4'"),
        ((*SFT, "run.nproc=3", "train.batch_sequences=8"), "train.batch_sequences", "nearest: 9, or run.nproc=2"),
        ((*SFT, "run.nproc=2", "train.batch_sequences=8", "train.micro_batch=3"), "train.micro_batch", "that does: 2"),
        (("run.nproc=3", "train.seq_len=512", "train.batch_tokens=4096"), "train.batch_tokens", "nearest: 4608 tokens"),
        (("run.nproc=3", "train.batch_tokens=4096"), "train.batch_tokens", "give train.seq_len too"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(overrides: tuple[str, ...], key: str, said: str) -> None:
    assert said in problems(*overrides)[key]


@pytest.mark.parametrize(
    "overrides",
    [
        ("parallel.zero=3", "parallel.reshard=false", "run.nproc=2", "train.batch_tokens=4096"),
        ("parallel.zero=3", "parallel.offload=true"),
        ("parallel.zero=2", "parallel.shard_group=2", "run.nproc=4"),
        ("parallel.zero=1", "optim.kind=muon", "run.nproc=2"),
        (*SFT, "method.kind=lora", "parallel.zero=3", "run.nproc=2"),
        (*SFT, "method.kind=qlora", "run.nproc=2"),
        (*SFT, "method.kind=qlora", "run.nproc=2", "parallel.zero=3"),
        (*SFT, "method.kind=qlora", "method.quant=int8", "run.nproc=2", "parallel.zero=1"),
        ("run.stage=dpo", "model.base=owner/name", "data.sources=[{path='pairs.jsonl'}]", "parallel.zero=3", "run.nproc=2"),
        ("run.nproc=auto", "parallel.zero=3", "parallel.shard_group=2"),
    ],
)
def test_what_can_be_is_not_refused(overrides: tuple[str, ...]) -> None:
    assert problems(*overrides) == {}


def test_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[run]\nnproc = 8\n\n[parallel]\nzero = 3\nshard_group = 3\n")
    with pytest.raises(ConfigError, match=r"run\.toml:6: parallel\.shard_group"):
        load_config(file)
