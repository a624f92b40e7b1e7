"""Configuration: every mistake found at once, with its place, its nearest name and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuitrain.config.dump import to_toml
from tuitrain.config.load import load_config, parse_value
from tuitrain.config.locate import key_lines, line_of
from tuitrain.config.schema import Config
from tuitrain.errors import ConfigError


def problems(tmp_path: Path, text: str, *overrides: str) -> dict[str, str]:
    """Dotted key -> the whole line told about it."""
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_all_problems_are_told_at_once_with_file_and_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        '[run]\nname = "two words"\n\n[model]\ndept = 4\n\n[train]\nprecision = "bf15-mixed"\nseq_len = "long"\n',
        "optim.kind=addam",
    )
    assert set(found) == {"run.name", "model.dept", "train.precision", "train.seq_len", "optim.kind"}
    assert "run.toml:5: model.dept: unknown key (did you mean 'depth'?)" in found["model.dept"]
    assert "run.toml:8:" in found["train.precision"]
    assert "run.toml:9:" in found["train.seq_len"]
    assert "override optim.kind=addam" in found["optim.kind"]
    assert "did you mean 'adamw'" in found["optim.kind"]


def test_a_key_in_the_wrong_section_is_sent_home(tmp_path: Path) -> None:
    assert "belongs to [optim]" in problems(tmp_path, "[train]\nclip_norm = 1.0\n")["train.clip_norm"]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[train]\nsteps = 5\ntokens = 9", "train.steps", "given 2 times"),
        ("[model]\nhidden_size = 64\nnum_layers = 2\nnum_heads = 7", "model.num_heads", "nearest that does: 8"),
        ("[model]\nhidden_size = 64\nnum_layers = 2\nnum_heads = 8\nnum_kv_heads = 3", "model.num_kv_heads", "do not divide"),
        ("[model]\nhidden_size = 64", "model.hidden_size", "without num_layers, num_heads"),
        ('[model]\npreset = "gpt2"\ndepth = 3', "model.depth", "keep one"),
        ("[train]\nseq_len = 512\nbatch_tokens = 1000", "train.batch_tokens", "nearest: 512 or 1024"),
        ("[train]\nseq_len = 512\nbatch_tokens = 1536\n[run]\nnproc = 2", "train.batch_tokens", "do not divide among 2"),
        ("[train]\nseq_len = 512\nbatch_tokens = 4096\nmicro_batch = 3", "train.micro_batch", "nearest that does: 2"),
        ("[train]\nsteps = 5\n[schedule]\nwarmup_steps = 5", "schedule.warmup_steps", "warm-up in a run of 5"),
        ('[optim]\nkind = "adamw"\nmatrix_lr = 0.1', "optim.matrix_lr", "only muon"),
        ("[eval]\nevery_steps = 0\npatience = 3", "eval.patience", "needs evaluations"),
        ('[[data.sources]]\ncorpus = "python-stdlib"\npath = "x"', "data.sources.0", "exactly one"),
        ("[data]\nsources = []", "data.sources", "is empty"),
        ('[tokenizer]\nkind = "tiktoken"', "tokenizer.name", "needs a name"),
    ],
)
def test_impossible_combinations_are_told_with_the_nearest_possible(tmp_path: Path, text: str, key: str, said: str) -> None:
    assert said in problems(tmp_path, text)[key]


def test_broken_toml_tells_the_line(tmp_path: Path) -> None:
    assert "line 2" in problems(tmp_path, "[run]\nname = \n")["TOML"]


def test_a_missing_file_tells_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "pretrain.toml").write_text("")
    with pytest.raises(ConfigError, match=r"pretrain\.toml\?"):
        load_config(tmp_path / "pretrian.toml")


def test_overrides_reach_into_arrays(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[[data.sources]]\ncorpus = "python-stdlib"\n')
    config = load_config(
        file, ["data.sources.0.weight=2.5", 'eval.prompts=["a", "b"]', "train.minutes=5", "optim.clip_norm=none"]
    )
    assert config.data.sources[0].weight == 2.5
    assert config.eval.prompts == ("a", "b")
    assert config.train.minutes == 5
    assert config.optim.clip_norm is None


def test_overrides_reach_into_the_defaults() -> None:
    assert load_config(None, ["data.sources.0.weight=2"]).data.sources[0].weight == 2


@pytest.mark.parametrize("override", ["train.steps", "=3", "train..steps=3", "train.steps.x=3", "data.sources.7.weight=1"])
def test_overrides_that_make_no_sense_are_told(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(None, [override])


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "run.toml"
    file.parent.mkdir()
    file.write_text('[[data.sources]]\npath = "../corpus"\n[tokenizer]\nkind = "file"\npath = "tok"\n')
    config = load_config(file)
    assert config.data.sources[0].path == tmp_path / "corpus"
    assert config.tokenizer.path == tmp_path / "sub" / "tok"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("abc", "abc"),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_override_values_are_toml_where_they_are_toml(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert (str(parsed) if text.startswith("2024") else parsed) == value


def test_what_was_asked_for_can_be_written_and_read_again(tmp_path: Path) -> None:
    config = load_config(
        None,
        [
            "run.name=x",
            "train.minutes=2.5",
            'eval.prompts=["a \\"quoted\\"\\n line", "ü"]',
            "data.sources=[{path='/a b', weight=2.0}, {corpus='python-stdlib'}]",
        ],
    )
    file = tmp_path / "again.toml"
    file.write_text(to_toml(config, comment="tuitrain train x\nsecond line"))
    assert load_config(file) == config


def test_lines_of_keys() -> None:
    text = '# c\n[a]\nx = 1\n"y z" = 2\n[[b.c]]\nk = """\nnot = here\n"""\n[[b.c]]\nk = 2\n'
    lines = key_lines(text)
    assert lines[("a", "x")] == 3
    assert lines[("a", "y z")] == 4
    assert lines[("b", "c", 0, "k")] == 6
    assert lines[("b", "c", 1, "k")] == 10
    assert ("b", "c", 0, "not") not in lines
    assert line_of(lines, ("b", "c", 1, "inner", "x")) == 9


def test_every_field_is_documented() -> None:
    schema = Config.model_json_schema()
    for name, section in schema["$defs"].items():
        missing = [field for field, facts in section["properties"].items() if not facts.get("description")]
        assert missing == [], f"{name} does not say what these are: {missing}"


def test_every_shipped_recipe_loads() -> None:
    recipes = sorted((Path(__file__).resolve().parents[3] / "presets" / "recipes").rglob("*.toml"))
    assert recipes
    for recipe in recipes:
        load_config(recipe)
