"""What the grid of parallel layouts trains, and how far one run of it is from another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from support.tiny import CPU, SEQ_LEN, VOCAB, sequences, tiny_shape
from torch.distributed.tensor import DTensor

from tuitrain.config.schema import MethodSection, OptimSection, ParallelSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.checkpoint import Checkpoints
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.muon import Muon
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.apply import Parallel, parallelise
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.precision import RECIPES
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.step import train_step
from tuitrain.trainer.weights import AdapterWeights, NativeWeights, PretrainedWeights, Weights

STEPS, SEQUENCES = 10, 16
SCRIPT = Path(__file__).parents[1] / "numerics" / "grid_ranks.py"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing trained, in one layout."""

    model: str = "native"
    """native | tied | llama | gpt2 | lora | qlora | qlora-tied"""
    optimizer: str = "adamw"
    zero: int = 0
    reshard: bool = True
    offload: bool = False
    shard_group: int | None = None
    micro_batch: int = 2
    """Sequences per forward pass; what a process has more of is accumulated."""
    recompute: str = "none"
    packed: bool = False
    head: str = "chunked"

    @property
    def name(self) -> str:
        """For test ids and file names."""
        parts = [self.model, self.optimizer, f"zero{self.zero}", f"micro{self.micro_batch}", self.head]
        parts += [name for name in ("packed", "offload") if getattr(self, name)]
        parts += ["recompute"] if self.recompute != "none" else []
        parts += [] if self.reshard else ["kept"]
        return "-".join([*parts, *([f"group{self.shard_group}"] if self.shard_group else [])])

    @property
    def alone(self) -> Case:
        """The same on one process."""
        return replace(self, zero=0, reshard=True, offload=False, shard_group=None)

    @property
    def section(self) -> ParallelSection:
        """Its layout."""
        return ParallelSection(zero=self.zero, reshard=self.reshard, offload=self.offload, shard_group=self.shard_group)


BASES = {"lora": "llama", "qlora": "llama", "qlora-tied": "qwen3"}
"""What an adapter is trained beside."""


def make_base(case: Case) -> None:
    """The folder a quantised base is loaded from; before a process group, in which transformers saves on rank 0 alone."""
    if case.model.startswith("qlora"):
        from support.tuning import base_folder

        base_folder(BASES[case.model])


def build(case: Case, world: World) -> tuple[Parallel, Any, Optimizers]:
    """(spread module, model, optimizer), every weight away from zero."""
    model: Any
    if case.model in ("native", "tied"):
        model = Decoder(replace(tiny_shape(), tie_embeddings=case.model == "tied"))
        init_weights(model, 0)
        _stir(model)
        model.recompute = case.recompute
    else:
        from support.tuning import base_folder, tiny_lm

        from tuitrain.model.adapters import add_adapter
        from tuitrain.model.pretrained import LoadOptions, Pretrained, load_base

        torch.manual_seed(5)
        if case.model.startswith("qlora"):
            options = LoadOptions(dtype=torch.float32, quant="nf4", quant_embedding=True)
            lm = load_base(base_folder(BASES[case.model]), options, CPU)
        else:
            lm = tiny_lm(BASES.get(case.model, case.model))
        adapted = None
        if case.model in BASES:
            base = base_folder(BASES[case.model]) if case.model.startswith("qlora") else Path("base")
            adapted = add_adapter(lm, MethodSection(kind="lora", rank=4, alpha=8.0), base)
        model = Pretrained(lm, compute_dtype=torch.float32, adapted=adapted)
        if adapted is not None:
            _stir(model)
        model.set_attention("sdpa")
        model.recompute = case.recompute
    loss = LanguageModelLoss(model, head=case.head)
    parallel = parallelise(loss, model, case.section, world, RECIPES["fp32"])
    section = OptimSection(
        kind=case.optimizer, lr=0.001, embedding_lr=0.001, matrix_lr=0.002, weight_decay=0.1  # type: ignore[arg-type]
    )  # fmt: skip
    optimizers = Optimizers(model, section, device=CPU, owned=parallel.owned)
    for optimizer in optimizers.all:
        if isinstance(optimizer, Muon):  # bf16 orthogonalisation turns a last-bit difference into a visible one
            optimizer.compute_dtype = torch.float32
    return parallel, model, optimizers


def _stir(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def train(
    case: Case, world: World, *, store: Checkpoints | None = None, save_at: int | None = None, load_at: int = 0
) -> dict[str, Any]:
    """{"loss": [...], "grad_norm": [...], "gradients": of the last step, "weights": afterwards}, the same on every rank.

    With a store: saved after step `save_at` (in the background, while the next steps are done), or continued from `load_at`.
    """
    parallel, model, optimizers = build(case, world)
    writing: threading.Thread | None = None
    if load_at:
        assert store is not None
        store.load(load_at, weights_of(case, model), optimizers)
    tokens, targets = sequences(SEQUENCES)
    each = SEQUENCES // world.size
    rows = slice(world.rank * each, (world.rank + 1) * each)
    batches = _micro_batches(tokens[rows], targets[rows], case)
    found: dict[str, Any] = {"loss": [], "grad_norm": []}
    step = optimizers.step

    def keep_and_step() -> None:
        found["gradients"] = whole(optimizers.gradients())
        step()

    optimizers.step = keep_and_step  # type: ignore[method-assign]
    for number in range(load_at, STEPS):
        result = train_step(
            parallel.module, optimizers, batches, world, expected_targets=SEQUENCES * SEQ_LEN, clip_norm=1.0, guard=None,
            scaler=LossScaler(enabled=False),
        )  # fmt: skip
        found["loss"].append(result.loss)
        found["grad_norm"].append(result.grad_norm)
        if store is not None and number + 1 == save_at:
            draft = store.draft(
                save_at, weights_of(case, model), optimizers, {}, [{}], best_step=None, side=world.side, apart=True
            )  # fmt: skip
            writing = threading.Thread(target=store.write, args=(draft, world.side))
            writing.start()
    if writing is not None:
        writing.join()
    found["weights"] = whole([each for each in model.parameters() if each.requires_grad])
    return found


def weights_of(case: Case, model: Any) -> Weights:
    """What a checkpoint of the case holds."""
    if case.model in ("native", "tied"):
        return NativeWeights(decoder=model, eos_id=None, save_tokenizer=lambda _: None)
    if "lora" in case.model:
        return AdapterWeights(model=model, base={"weights_sha256": "", "path": "base"}, save_tokenizer=lambda _: None)
    return PretrainedWeights(model=model, save_tokenizer=lambda _: None)


def whole(tensors: list[torch.Tensor]) -> torch.Tensor:
    """All of them flat, gathered where they are cut."""
    return torch.cat([
        (each.full_tensor() if isinstance(each, DTensor) else each).detach().flatten().clone() for each in tensors
    ])  # fmt: skip


def _micro_batches(tokens: torch.Tensor, targets: torch.Tensor, case: Case) -> list[MicroBatch]:
    documents = positions = None
    if case.packed:
        half = SEQ_LEN // 2 - 1
        positions = torch.cat([torch.arange(half), torch.arange(SEQ_LEN - half)]).expand_as(tokens)
        documents = (positions == 0).cumsum(dim=1) - 1
    size = min(case.micro_batch, len(tokens))
    return [
        MicroBatch(
            tokens=tokens[at : at + size], targets=targets[at : at + size], valid=int((targets[at : at + size] >= 0).sum()),
            document_ids=None if documents is None else documents[at : at + size],
            position_ids=None if positions is None else positions[at : at + size],
        )
        for at in range(0, len(tokens), size)
    ]  # fmt: skip


def over(processes: int, cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the cases - their fields, and what `train` is asked to save or load - find over so many processes, in one launch."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    torchrun(SCRIPT, processes, folder)
    return [torch.load(folder / f"{index}.pt", weights_only=True) for index in range(len(cases))]


def torchrun(script: Path, processes: int, folder: Path) -> str:
    """Run a script on so many processes; what it printed."""
    command = [
        sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", str(script), str(folder),
    ]  # fmt: skip
    root = SCRIPT.parents[2]
    paths = [root, root / "planners", root / "kernels", root / "tests"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths)), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=env, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def and_leave(main: Callable[[Path], None]) -> NoReturn:
    """The end of a script that torchrun runs: `main` with its one argument, and out without the shutdown gloo may abort."""
    code = 0
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """Norm of the difference over norm."""
    return float((first - second).norm() / second.norm())


assert VOCAB % 4, "rows must not divide evenly among the ranks"
