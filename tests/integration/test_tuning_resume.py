"""Fine-tuning stopped and resumed is fine-tuning uninterrupted, bit for bit; and what must not matter for the weights does not:
evaluations, the micro-batch, the number of processes."""

from __future__ import annotations

import json
import shutil
import time
import warnings

import pytest
import torch
from safetensors.torch import load_file
from support.attempts import attempt, losses, of_kind
from support.tuning import base_folder, chats, pairs, tiny_lm, tuning_run
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from tuitrain.config.resolved import load_resolved
from tuitrain.config.schema import PreferenceSection
from tuitrain.data.chat.loading import make_loader, prepare_for
from tuitrain.errors import CheckpointError
from tuitrain.files import read_json
from tuitrain.model.pretrained import Pretrained
from tuitrain.runs.home import cache_dir
from tuitrain.runs.launch import start
from tuitrain.trainer.manifest import problem_with
from tuitrain.trainer.preference_loss import PreferenceLoss

STEPS = 6
KINDS = {
    "full sft": ("method.kind=full", "optim.lr=0.0005"),
    "lora sft": ("method.kind=lora", "method.dropout=0.1"),
    "qlora sft": ("method.kind=qlora",),
    "lora dpo": ("method.kind=lora", "run.stage=dpo"),
    "full dpo": ("method.kind=full", "run.stage=dpo", "optim.lr=0.0005"),
    "lora kto": ("run.stage=dpo", "preference.loss=kto"),
}


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    """How fast this machine multiplies is half of such a run's time, and nothing here asks for it."""
    monkeypatch.setattr("tuitrain.trainer.attempt.matmul_peak", lambda device, dtype: 1e11)


def run_of(folder, *overrides, base=None):
    rows = pairs() if "run.stage=dpo" in overrides else chats()
    return tuning_run(folder, base or base_folder("llama", "llama3"), rows, f"train.steps={STEPS}", *overrides)


def saved(run):
    """Every tensor of the last checkpoint, weights and generators, by name."""
    folder = run.checkpoints_dir / f"step-{STEPS:08d}"
    assert problem_with(folder) is None
    files = sorted(folder.glob("*.safetensors"))
    return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def optimizer_state(folder):
    """Tensors of an optimizer by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.distributed is not initialised, and need not be
        state = _load_state_dict_from_keys({"optimizer"}, checkpoint_id=folder / "state")["optimizer"]

    def flat(tree, prefix):
        if isinstance(tree, torch.Tensor):
            yield prefix, tree
        elif isinstance(tree, dict):
            for key, value in tree.items():
                yield from flat(value, f"{prefix}.{key}")

    return dict(flat(state, ""))


def assert_same(got, want):
    assert losses(got) == losses(want)
    ours, theirs = saved(got), saved(want)
    assert ours.keys() == theirs.keys()
    assert [name for name, tensor in theirs.items() if not torch.equal(tensor, ours[name])] == []


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_is_uninterrupted(tmp_path, kind):
    if "qlora" in kind:
        pytest.importorskip("bitsandbytes")
    overrides = (*KINDS[kind], "eval.every_steps=2", "checkpoint.every_steps=2")
    whole, pieces = run_of(tmp_path / "whole", *overrides), run_of(tmp_path / "pieces", *overrides)
    assert attempt(whole) == 0
    assert attempt(pieces, stop_after=3) == 0
    assert max(losses(pieces)) == 3
    assert attempt(pieces, number=2) == 0
    assert of_kind(pieces, "run_start")[-1].data["resumed_from_step"] == 3
    assert list(losses(whole)) == list(range(1, STEPS + 1))
    assert losses(whole)[STEPS] < losses(whole)[1], "something was learnt"
    assert_same(pieces, whole)
    evals = [{event.step: event.number("loss") for event in of_kind(run, "eval")} for run in (pieces, whole)]
    assert evals[0] == evals[1]
    states = [read_json(run.checkpoints_dir / f"step-{STEPS:08d}" / "trainer.json") for run in (pieces, whole)]
    for state in states:
        del state["position"]["train_s"]
    assert states[0] == states[1]


def test_across_an_epoch_edge(tmp_path):
    """24 examples, 4 packed sequences a step: the second epoch begins within the run, and packs anew."""
    overrides = ("train.batch_sequences=2", "method.rank=2")
    whole, pieces = run_of(tmp_path / "whole", *overrides), run_of(tmp_path / "pieces", *overrides)
    assert attempt(whole) == 0
    epochs = [event.number("epoch") for event in of_kind(whole, "step")]
    edge = next(step for step, epoch in enumerate(epochs, 1) if epoch >= 1)
    assert 1 < edge < STEPS, epochs
    assert attempt(pieces, stop_after=edge) == 0
    assert attempt(pieces, number=2) == 0
    assert_same(pieces, whole)


@pytest.mark.parametrize("kind", ["lora sft", "qlora sft", "lora dpo"])
def test_an_adapters_checkpoint_holds_nothing_of_its_base(tmp_path, kind):
    """A peer wrote 37 GB of base into every save of an adapter of 131 MB."""
    if "qlora" in kind:
        pytest.importorskip("bitsandbytes")
    run = run_of(tmp_path, *KINDS[kind], "checkpoint.every_steps=3")
    assert attempt(run) == 0
    base = tiny_lm("llama")
    for step in (3, STEPS):
        folder = run.checkpoints_dir / f"step-{step:08d}"
        weights = load_file(folder / "adapter_model.safetensors")
        assert all(".lora_A." in name or ".lora_B." in name for name in weights)
        assert sorted(file.name for file in folder.rglob("*.safetensors")) == ["adapter_model.safetensors", "rng.safetensors"]
        moments = optimizer_state(folder)
        assert all("lora_" in name for name in moments if "param_groups" not in name)
        sizes = [sum(tensor.nbytes for tensor in tensors.values()) for tensors in (weights, moments)]
        assert (folder / "adapter_model.safetensors").stat().st_size < sizes[0] + 8_000
        assert sizes[1] < 2 * sizes[0] + 8_000
        everything = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assert everything < sum(parameter.nbytes for parameter in base.parameters())
        shapes = {tuple(parameter.shape) for parameter in base.parameters() if parameter.ndim == 2}
        assert not [name for name, tensor in weights.items() if tuple(tensor.shape) in shapes]
        facts = json.loads((folder / "base.json").read_text())
        assert facts["path"] == str(base_folder("llama", "llama3"))


def test_an_adapter_is_not_resumed_beside_another_base(tmp_path):
    base = shutil.copytree(base_folder("llama", "llama3"), tmp_path / "base")
    run = run_of(tmp_path, "method.kind=lora", base=base)
    assert attempt(run, stop_after=3) == 0
    other = tiny_lm("llama")
    with torch.no_grad():
        other.lm_head.weight.add_(0.01)
    other.save_pretrained(tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "model.safetensors", base / "model.safetensors")
    with pytest.raises(CheckpointError, match="another base"):
        attempt(run, number=2)


@pytest.mark.parametrize("kind", ["lora sft", "qlora sft", "lora dpo", "full sft"])
def test_evaluations_do_not_change_the_training(tmp_path, kind):
    """With dropout, whose random state an evaluation or its samples could move; quantised, where one could repack weights."""
    if "qlora" in kind:
        pytest.importorskip("bitsandbytes")
    overrides = (*KINDS[kind], *(() if kind.startswith("full") else ("method.dropout=0.2",)))
    never = run_of(tmp_path / "never", *overrides)
    often = run_of(tmp_path / "often", *overrides, "eval.every_steps=1", "eval.sample_tokens=6", "eval.temperature=1.0")
    assert attempt(never) == 0
    assert attempt(often) == 0
    assert len(of_kind(often, "eval")) > len(of_kind(never, "eval")) + 3
    assert of_kind(often, "sample")
    assert_same(often, never)


@pytest.mark.parametrize("kind", ["lora sft", "full sft", "lora dpo"])
@pytest.mark.parametrize("packing", ["true", "false"])
def test_the_micro_batch_does_not_matter(tmp_path, kind, packing):
    """Answers of unequal length: a mean of means would weigh a short one like a long one."""
    if kind == "lora dpo" and packing == "true":
        pytest.skip("pairs are not packed")
    overrides = (*KINDS[kind], "method.dropout=0", f"data.packing={packing}", "optim.clip_norm=0.5")
    runs = [run_of(tmp_path / size, *overrides, f"train.micro_batch={size}") for size in ("1", "4")]
    for run in runs:
        assert attempt(run) == 0
    one, four = (losses(run) for run in runs)
    targets = {event.data.get("targets") for event in of_kind(runs[0], "step")}
    assert len(targets) > 1 or kind == "lora dpo", "every step trains as many tokens: the test would see nothing"
    assert one == pytest.approx(four, rel=1e-5)
    norms = [[event.number("grad_norm") for event in of_kind(run, "step")] for run in runs]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_the_loss_is_over_trained_tokens_alone(tmp_path):
    """The first step's loss by hand: sum over the answers' tokens of the global batch, divided by their number."""
    run = run_of(tmp_path, "method.kind=full", "data.packing=false", "data.shuffle=false", "train.steps=1")
    assert attempt(run) == 0
    resolved = load_resolved(run.path)
    loader = make_loader(resolved, prepare_for(resolved, cache_dir=cache_dir(), progress=lambda now: None))
    lm, total, count = tiny_lm("llama").eval(), torch.zeros(()), 0
    for index in loader.usable[:4]:
        example = loader.train[int(index)]
        log_probs = lm(input_ids=torch.from_numpy(example.ids)[None]).logits[0].log_softmax(-1)
        for at in range(1, len(example.ids)):
            if example.trained[at]:
                total = total - log_probs[at - 1, example.ids[at]]
                count += 1
    (total / count).backward()
    total = total.item()
    assert losses(run)[1] == pytest.approx(total / count, rel=1e-5)
    (step,) = of_kind(run, "step")
    assert step.data["targets"] == count
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in lm.parameters()])
    assert step.number("grad_norm") == pytest.approx(norm.item(), rel=1e-4)


def test_an_evaluation_of_kto_waits_for_no_other_process():
    asked = []

    def total(sums):
        asked.append(sums)
        return sums

    model = Pretrained(tiny_lm("llama"), compute_dtype=torch.float32)
    loss = PreferenceLoss(model, PreferenceSection(loss="kto", beta=0.1, gamma=0.0), total=total)
    rows = torch.arange(40).view(4, 10)
    inputs = (rows, rows, None, None, torch.zeros(4), torch.tensor([1, 1, 0, 0]))
    loss(*inputs)
    assert len(asked) == 1, "training sums over processes, which all take the same steps"
    with torch.no_grad():
        loss(*inputs)
    assert len(asked) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora sft", "lora dpo"])
def test_two_processes_are_one(tmp_path, kind):
    """Through the real launcher: torchrun, gloo, and examples of unequal length on either side."""
    overrides = (*KINDS[kind], "method.dropout=0", "train.micro_batch=1")
    alone, two = run_of(tmp_path / "alone", *overrides), run_of(tmp_path / "two", *overrides, "run.nproc=2")
    assert attempt(alone) == 0
    start(two)
    deadline = time.monotonic() + 180
    while not of_kind(two, "run_end"):
        assert time.monotonic() < deadline, two.log_file.read_text()[-2000:]
        time.sleep(0.2)
    assert two.fold().state == "finished", two.log_file.read_text()[-2000:]
    assert losses(two) == pytest.approx(losses(alone), rel=1e-5)
