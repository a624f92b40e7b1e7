"""Seeded defects: each is one that trains on without a word elsewhere. Here the run ends with exit code 2 before step 1, and
the message names what to do. A good run has nothing but ok."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from support.attempts import attempt, losses, of_kind
from support.tuning import (
    FAMILIES,
    base_folder,
    chats,
    everything,
    pairs,
    tiny_lm,
    trl_template,
    tuning_run,
    write,
    write_tokenizer,
)

from tuitrain.data.batch import IGNORED
from tuitrain.data.chat import masks
from tuitrain.data.chat.loader import ExampleLoader
from tuitrain.errors import EXIT_USAGE
from tuitrain.files import read_json
from tuitrain.model.pretrained import Pretrained
from tuitrain.trainer.flight import FlightError, read_flight

FEW_STEPS = ("train.steps=1",)


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    """How fast this machine multiplies is half of such a run's time, and nothing here asks for it."""
    monkeypatch.setattr("tuitrain.trainer.attempt.matmul_peak", lambda device, dtype: 1e11)


def blocked(run):
    """{check: finding} of what blocks; the run ended before its first step."""
    with pytest.raises(FlightError) as stopped:
        attempt(run)
    assert stopped.value.exit_code == EXIT_USAGE == 2
    assert losses(run) == {}
    findings = [each for each in read_flight(run.path) if each.severity == "block"]
    assert findings == list(stopped.value.findings)
    for each in findings:
        assert each.fix, f"{each.check} names no fix"
        assert each.fix in str(stopped.value)
    return {each.check: each for each in reversed(findings)}


def copy_of(base, tmp_path):
    return shutil.copytree(base, tmp_path / "base")


# Runs that are right.


@pytest.mark.parametrize(
    ("architecture", "family", "overrides"),
    [
        ("llama", "llama3", ()),
        ("qwen3", "qwen3", ("data.packing=false",)),
        ("phi3", "phi3", ("method.kind=full",)),
        ("gpt2", "qwen2.5", ("train.precision=bf16-mixed",)),
        ("gemma2", "gemma", ("train.attention=naive",)),
        ("qwen3_moe", "smollm2", ()),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(rank|alpha)_pattern keys did not match.*", "ignore:.*fan_in_fan_out.*")
def test_a_good_run_has_only_ok_findings(tmp_path, architecture, family, overrides):
    run = tuning_run(tmp_path, base_folder(architecture, family), chats(), *FEW_STEPS, *overrides)
    assert attempt(run) == 0
    findings = read_flight(run.path)
    assert [each for each in findings if each.severity != "ok"] == []
    seen = {each.check for each in findings}
    assert {"mask", "end token", "template", "length", "data", "tokenizer", "head"} <= seen
    assert ("packing" in seen) == ("data.packing=false" not in overrides)
    assert list(losses(run)) == [1]


def test_a_good_quantised_run_has_only_ok_findings(tmp_path):
    pytest.importorskip("bitsandbytes")
    run = tuning_run(tmp_path, base_folder(), chats(), *FEW_STEPS, "method.kind=qlora")
    assert attempt(run) == 0
    assert {each.severity for each in read_flight(run.path)} == {"ok"}
    assert "quantisation" in {each.check for each in read_flight(run.path)}


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_good_preference_run_has_only_ok_findings(tmp_path, loss):
    run = tuning_run(tmp_path, base_folder("llama", "llama3"), pairs(), *FEW_STEPS, "run.stage=dpo", f"preference.loss={loss}")
    assert attempt(run) == 0
    assert {each.severity for each in read_flight(run.path)} == {"ok"}


def test_what_only_warns_does_not_stop(tmp_path):
    rows = chats()
    for row in rows:
        row["messages"][1]["content"] = "Write <|im_end|> to stop."
    run = tuning_run(tmp_path, base_folder(), rows, *FEW_STEPS)
    assert attempt(run) == 0
    warned = [each for each in read_flight(run.path) if each.severity == "warn"]
    assert [each.check for each in warned] == ["special tokens"]
    assert warned[0].count > 12
    assert any("spell an end token" in event.data["message"] for event in of_kind(run, "warning"))


def test_a_family_without_sdpa_trains_by_default(tmp_path):
    assert attempt(tuning_run(tmp_path, base_folder("gemma2", "gemma"), chats(), *FEW_STEPS)) == 0


# Template, mask, end.


def test_nothing_trained(tmp_path):
    """Generation marks around nothing."""
    source = (
        FAMILIES["llama3"]
        .training_source.replace("{%- generation %}", "{%- generation %}{%- endgeneration %}")
        .replace("        {%- endgeneration %}\n", "")
    )
    run = tuning_run(tmp_path, base_folder("llama", "llama3", source), chats())
    found = blocked(run)
    assert "no trained token" in found["mask"].message
    assert "chatml" in found["mask"].fix


def test_a_template_that_hides_the_answers(tmp_path):
    everything()
    run = tuning_run(tmp_path, base_folder("llama", "everything", trl_template("smolvlm")), chats())
    assert "does not show the answer" in blocked(run)["mask"].message


def test_an_end_at_which_generation_does_not_stop(tmp_path):
    base = copy_of(base_folder(), tmp_path)
    number = read_json(base / "generation_config.json")["eos_token_id"][0]
    write(base / "generation_config.json", {"eos_token_id": number})
    write(base / "tokenizer_config.json", {"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"})
    found = blocked(tuning_run(tmp_path, base, chats()))
    assert "the model would never stop" in found["end token"].message
    assert "generation_config.json" in found["end token"].fix


def test_a_doubled_bos(tmp_path):
    source = FAMILIES["llama3"].source.replace("bos_token + content", "bos_token + bos_token + content")
    found = blocked(tuning_run(tmp_path, base_folder("llama", "llama3", source), chats()))
    assert "<|begin_of_text|> twice" in found["template"].message


def test_a_doubled_bos_of_raw_text(tmp_path):
    rows = [{"prompt": f"<|begin_of_text|>{row} and", "completion": f" {row + 1}"} for row in range(12)]
    assert "twice" in blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), rows))["template"].message


def test_a_prompt_that_training_never_saw(tmp_path):
    everything()
    for name in ("deepseekv3", "deepseekv3_training"):
        folder = tmp_path / name
        found = blocked(tuning_run(folder, base_folder("llama", "everything", trl_template(name)), chats()))
        assert "does not follow the prompt that serving would send" in found["template"].message


def test_no_chat_template(tmp_path):
    base = copy_of(base_folder(), tmp_path)
    (base / "chat_template.jinja").unlink()
    found = blocked(tuning_run(tmp_path, base, chats()))
    assert "no chat template" in found["template"].message
    assert "data.chat_template=chatml" in found["template"].fix
    mended = tuning_run(tmp_path / "mended", base, chats(), *FEW_STEPS, "data.chat_template=chatml")
    assert attempt(mended) == 0


# Lengths.


def test_a_truncation_that_eats_the_answers(tmp_path):
    rows = chats(12)
    for row in rows[:4]:
        row["messages"][0]["content"] += " please" * 60
    found = blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), rows, "train.seq_len=64"))
    assert "cutting them would take the whole answer of 4" in found["truncation"].message
    assert "data.too_long=drop" in found["truncation"].fix
    assert found["truncation"].count == 4
    # What was asked for is done and told: nothing without an answer is ever trained on.
    cut = tuning_run(
        tmp_path / "cut", base_folder("llama", "llama3"), rows, "train.seq_len=64", *FEW_STEPS, "data.too_long=truncate"
    )
    assert attempt(cut) == 0
    told = [each for each in read_flight(cut.path) if each.severity == "warn"]
    assert [each.check for each in told] == ["truncation"]
    assert "4 left out because nothing of the answer would be left" in told[0].message


def test_a_truncation_that_leaves_nothing(tmp_path):
    rows = chats(12)
    for row in rows:
        row["messages"][0]["content"] += " please" * 60
    found = blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), rows, "train.seq_len=64", "data.too_long=drop"))
    assert "none can be trained on" in found["data"].message


def test_a_length_the_base_was_not_made_for(tmp_path):
    found = blocked(tuning_run(tmp_path, base_folder(), chats(), "train.seq_len=512"))
    assert "exceeds the 256 positions" in found["length"].message
    assert found["length"].fix == "train.seq_len=256"


# Faults in the making of batches, planted where a trainer would have them.


def plant(monkeypatch, change):
    """`change(batch)` mends what the loader makes, in place."""
    made = ExampleLoader.rows_of

    def rows_of(self, *arguments):
        batch = made(self, *arguments)
        change(batch, self)
        return batch

    monkeypatch.setattr(ExampleLoader, "rows_of", rows_of)


def mask_padding_by_its_id(batch, loader):
    batch.targets[batch.targets == loader.shape.pad_id] = IGNORED


def one_target_late(batch, loader):
    batch.targets[:, 1:] = batch.targets[:, :-1].copy()
    batch.targets[:, 0] = IGNORED


def predict_itself(batch, loader):
    """Labels that are the inputs, as for a model that shifts them itself."""
    batch.targets[:] = np.where(batch.targets == IGNORED, IGNORED, batch.tokens)


@pytest.mark.parametrize("packing", ["true", "false"])
def test_an_end_masked_as_padding(tmp_path, monkeypatch, packing):
    """pad == eos, and padding told by its id: no answer would ever end."""
    plant(monkeypatch, mask_padding_by_its_id)
    found = blocked(tuning_run(tmp_path, base_folder("llama", "smollm2"), chats(), f"data.packing={packing}"))
    assert "masked by position, never by its id" in " ".join(each.fix for each in found.values())


@pytest.mark.parametrize("packing", ["true", "false"])
@pytest.mark.parametrize("change", [one_target_late, predict_itself])
def test_shifted_targets(tmp_path, monkeypatch, change, packing):
    plant(monkeypatch, change)
    found = blocked(tuning_run(tmp_path, base_folder("llama", "qwen2.5"), chats(), f"data.packing={packing}"))
    assert "mask" in found


@pytest.mark.parametrize("packing", ["true", "false"])
def test_a_mask_that_was_not_shifted_with_its_targets(tmp_path, monkeypatch, packing):
    """Every target is the token that follows, and the first of each answer is none of them."""
    plain = np.where

    def where(condition, ids, other):
        if other is IGNORED:
            condition = np.concatenate([[False], condition[:-1]])
        return plain(condition, ids, other)

    monkeypatch.setattr("tuitrain.data.chat.loader.np.where", where)
    assert "mask" in blocked(tuning_run(tmp_path, base_folder("llama", "qwen2.5"), chats(), f"data.packing={packing}"))


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_beside_its_answers(tmp_path, monkeypatch, by):
    """One token early or late already in the example. The end token of Qwen2.5 is trained either way, a newline follows it."""
    right = masks._within

    def beside(encoded, spans):
        trained = right(encoded, spans)
        return [*trained[1:], False] if by < 0 else [False, *trained[:-1]]

    monkeypatch.setattr(masks, "_within", beside)
    assert "mask" in blocked(tuning_run(tmp_path, base_folder("llama", "qwen2.5"), chats()))


def test_a_mask_that_trains_the_questions_too(tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "_within", lambda encoded, spans: [True] * len(encoded.ids))
    assert "mask" in blocked(tuning_run(tmp_path, base_folder("llama", "qwen2.5"), chats()))


# Tokenizers that disagree.


def test_a_tokenizer_that_transformers_reads_otherwise(tmp_path):
    """Its configuration names a class that builds its own pre-tokenizer."""
    base = copy_of(base_folder("llama", "gemma"), tmp_path)
    settings = read_json(base / "tokenizer_config.json")
    write(base / "tokenizer_config.json", settings | {"tokenizer_class": "LlamaTokenizer", "legacy": True})
    found = blocked(tuning_run(tmp_path, base, chats()))
    assert "other ids than tokenizer.json" in found["tokenizer"].message
    assert "save_pretrained" in found["tokenizer"].fix


def test_a_tokenizer_that_disagrees_on_these_examples_alone(tmp_path, monkeypatch):
    """Digits one by one, as SmolLM2 cuts them, against digits by three: no difference in a text without numbers."""
    from tokenizers import Tokenizer, pre_tokenizers
    from transformers import AutoTokenizer

    base = write_tokenizer(tmp_path / "base", FAMILIES["smollm2"])
    tiny_lm("llama").save_pretrained(base)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), tokenizer.pre_tokenizer])
    tokenizer.save(str(base / "tokenizer.json"))
    load = AutoTokenizer.from_pretrained

    def without_digits(*arguments, **options):
        loaded = load(*arguments, **options)
        loaded.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return loaded

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", without_digits)
    rows = chats()
    for row in rows:
        row["messages"][1]["content"] += " See 1234567890."
    found = blocked(tuning_run(tmp_path, base, rows))
    assert "other ids than tokenizer.json" in found["tokenizer"].message


def test_a_bos_that_transformers_does_not_put_before_raw_text(tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    base = copy_of(base_folder("llama", "llama3"), tmp_path)
    (base / "chat_template.jinja").unlink()
    rows = [{"prompt": f"{row} and", "completion": f" {row + 1}"} for row in range(12)]
    assert attempt(tuning_run(tmp_path / "good", base, rows, *FEW_STEPS)) == 0
    load = AutoTokenizer.from_pretrained

    def without_bos(*arguments, **options):
        from tokenizers import processors

        loaded = load(*arguments, **options)
        loaded.backend_tokenizer.post_processor = processors.ByteLevel()
        return loaded

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", without_bos)
    assert "tokenizer" in blocked(tuning_run(tmp_path, base, rows))


# The model.


def all_ones(self, tokens_BT, document_ids_BT=None, positions_BT=None):
    """As many trainers call it: with a padding mask that masks nothing (transformers #46634)."""
    if positions_BT is None:
        positions_BT = torch.arange(tokens_BT.shape[1]).expand_as(tokens_BT)
    out = self.lm.base_model(
        input_ids=tokens_BT, position_ids=positions_BT, attention_mask=torch.ones_like(tokens_BT), use_cache=False
    )
    return out.last_hidden_state


def test_a_padding_mask_that_lets_packed_examples_see_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(Pretrained, "hidden", all_ones)
    found = blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), chats()))
    assert set(found) == {"packing"}
    assert "packed examples see each other" in found["packing"].message
    assert "data.packing=false" in found["packing"].fix
    assert attempt(tuning_run(tmp_path / "off", base_folder("llama", "llama3"), chats(), *FEW_STEPS, "data.packing=false")) == 0


def test_isolation_that_ends_at_the_second_row(tmp_path, monkeypatch):
    """transformers' flash attention cuts a row by its positions only where it is the batch's single one."""
    right = Pretrained.hidden

    def hidden(self, tokens_BT, document_ids_BT=None, positions_BT=None):
        return right(self, tokens_BT, document_ids_BT, positions_BT if len(tokens_BT) == 1 else None)

    monkeypatch.setattr(Pretrained, "hidden", hidden)
    found = blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), chats()))
    assert set(found) == {"packing"}


def test_positions_that_go_on_through_a_packed_row(tmp_path, monkeypatch):
    right = Pretrained.hidden
    monkeypatch.setattr(Pretrained, "hidden", lambda self, tokens, documents=None, positions=None: right(self, tokens))
    assert set(blocked(tuning_run(tmp_path, base_folder("llama", "llama3"), chats()))) == {"packing"}


def test_a_head_that_is_more_than_a_product(tmp_path, monkeypatch):
    """Gemma 2 caps its logits; a family whose like we do not know must not be trained as if it did not."""
    monkeypatch.setattr(Pretrained, "logit_softcap", None)
    found = blocked(tuning_run(tmp_path, base_folder("gemma2", "gemma"), chats(), "train.attention=naive"))
    assert set(found) == {"head"}


def test_a_backend_that_loses_gradients_after_an_evaluation(tmp_path, monkeypatch):
    """As bitsandbytes does on some CPUs: the first forward pass without gradients turns a layer into one that has none."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear4bit
    right = layer.forward

    def forward(self, x):
        if not torch.is_grad_enabled():
            self.repacked = True
        out = right(self, x)
        return out.detach() if getattr(self, "repacked", False) else out

    monkeypatch.setattr(layer, "forward", forward)
    found = blocked(tuning_run(tmp_path, base_folder(), chats(), "method.kind=qlora"))
    assert set(found) == {"quantisation"}
    assert "method.kind=lora" in found["quantisation"].fix


@pytest.mark.filterwarnings("ignore")
def test_the_real_trap_of_this_cpu(tmp_path, monkeypatch):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    if not bitsandbytes.nn.modules.has_avx512bf16():
        pytest.skip("this CPU has no AVX512-BF16, and nothing to repack for")
    monkeypatch.setattr("tuitrain.model.pretrained.keep_differentiable", lambda model: 0)
    run = tuning_run(tmp_path, base_folder(), chats(), "method.kind=qlora", "train.precision=bf16-mixed")
    assert set(blocked(run)) == {"quantisation"}


def test_the_same_words_as_a_person_reads_them(tmp_path, capsys, monkeypatch):
    """Through the process's own entry: exit code, stderr, the log's last event."""
    from tuitrain.trainer import __main__ as entry

    monkeypatch.setattr("faulthandler.enable", lambda: None)
    monkeypatch.setattr("tuitrain.trainer.signals.StopRequest.install", lambda self: None)

    base = copy_of(base_folder(), tmp_path)
    (base / "chat_template.jinja").unlink()
    run = tuning_run(tmp_path, base, chats())
    threads = torch.get_num_threads()
    try:
        assert entry.main(run.path) == 2
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().err
    assert said.startswith("error: 1 finding of the flight check blocks the start\n  template: ")
    assert "\nhint: data.chat_template=chatml" in said
    (end,) = of_kind(run, "run_end")
    assert (end.data["state"], end.data["exit_code"]) == ("failed", 2)
