"""Recorded runs for tests, benchmarks and screenshots: event logs as the trainer writes them, on a clock that stands still.

    make_run(root, story="live")     a folder as `runs.launch` makes it, with events, status, log, plan and configuration
    give_examples(run)               a base with a small tokenizer, examples, and the configuration that names both

Nothing here is random between two calls: every number comes from a seeded generator, every time from START_S.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np

from tuitrain.events import SUPERVISOR_RANK, Event, EventWriter, encode_line
from tuitrain.runs.status import ProcessId, Status, write_status
from tuitrain.runs.store import Run

START_S = 1_760_000_000.0
"""2025-10-09 08:53:20 UTC."""
HOST = "box"
"""What the events say of the machine; whether a process is alive is told by status.json and the real one."""
VOCABULARY = 4096
TOKENS_PER_STEP = 8192
Story = Literal[
    "live", "resumed", "finished", "failed", "killed", "paused", "loading", "gone", "hostile", "fresh",
    "tuned", "preference", "blocked", "ranks",
]  # fmt: skip
STAGES: dict[str, str] = {"tuned": "sft", "preference": "dpo", "blocked": "sft"}
HOSTILE = "\x1b]0;owned\x07\x1b[31mred[/] [bold]bold[/bold] \x9b2J \u202egnp.exe 漢字かな [@click=app.quit]x[/] \x1b[?1049l\x07"
"""Escape sequences, markup, direction overrides and wide characters, as a model or a log may print them."""


class Clock:
    """Nanoseconds that pass only when told to."""

    def __init__(self, start_s: float = START_S) -> None:
        self.now_ns = int(start_s * 1e9)

    def __call__(self) -> int:
        """Each reading a little later than the last, so that no two events share their time."""
        self.now_ns += 1000
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * 1e9)


@contextmanager
def clocked_writer(path: Path, clock: Clock, *, rank: int = 0) -> Iterator[EventWriter]:
    """An EventWriter whose events bear the clock's time."""
    with mock.patch("tuitrain.events.writer.time.time_ns", clock), EventWriter(path, rank=rank) as writer:
        yield writer


def loss_at(step: float, total: int) -> float:
    """A believable curve: from guessing down by a power law."""
    floor, guess = 2.05, math.log(VOCABULARY)
    return floor + (guess - floor) / (1 + step / (0.02 * total)) ** 0.75


def plan_event(total: int) -> dict[str, Any]:
    """What the planner promised."""
    steps = sorted({0, *(round(total * share**2) for share in np.linspace(0, 1, 25).tolist())})
    return {
        "loss": loss_at(total, total) - 0.05, "bits_per_byte": 0.81, "tokens_per_s": 13_600.0, "mfu_frac": 0.35,
        "peak_bytes": 1.35e9, "duration_s": total * TOKENS_PER_STEP / 13_600, "tokens": float(total * TOKENS_PER_STEP),
        "loss_curve": [[step, loss_at(step, total) - 0.05] for step in steps],
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What happens in one attempt."""

    total: int
    first: int = 1
    last: int
    attempt: int = 1
    eval_every: int = 0
    save_every: int = 0
    nan_at: tuple[int, ...] = ()
    guard_at: tuple[int, ...] = ()
    hostile: bool = False
    stage: str = "pretrain"
    world_size: int = 1


PHASES = (("data", "tokenising 412 files", 4), ("model", "", 1), ("probe", "micro-batch 8", 6), ("compile", "", 9))


def write_attempt(writer: EventWriter, clock: Clock, script: Script) -> None:
    """One attempt from its first phase to its last step; no ending."""
    random = np.random.default_rng(script.attempt)
    for phase, detail, seconds in PHASES:
        writer.emit("phase", step=script.first - 1, name=phase, detail=detail, done_frac=None)
        clock.pass_s(seconds)
    writer.emit(
        "run_start", step=script.first - 1, attempt=script.attempt, resumed_from_step=script.first - 1,
        total_steps=script.total, tokens_per_step=TOKENS_PER_STEP, total_tokens=script.total * TOKENS_PER_STEP,
        world_size=script.world_size, device="cpu (fake)", precision="bf16-mixed", precision_reason="native bf16", pid=1,
        attention="sdpa", attention_reason="", parameters=11_200_000, flop_per_token=7.4e7, flop_convention="dense",
        peak_flop_per_s=2.9e12, host=HOST, start_time_s=START_S, micro_batch=8, grad_accum=2, seq_len=512,
    )  # fmt: skip
    unplanned = {"loss": None, "bits_per_byte": None, "loss_curve": []}  # no law tells what fine-tuning comes to
    writer.emit("plan", step=script.first - 1, **plan_event(script.total) | (unplanned if script.stage != "pretrain" else {}))
    writer.emit("phase", step=script.first - 1, name="train", detail="", done_frac=None)
    for step in range(script.first, script.last + 1):
        _step(writer, clock, script, step, random)
        if script.eval_every and step % script.eval_every == 0:
            _evaluate(writer, clock, script, step)
        if script.save_every and step % script.save_every == 0:
            writer.emit("phase", step=step, name="checkpoint", detail=f"step {step}", done_frac=None)
            clock.pass_s(0.8)
            writer.emit(
                "checkpoint", step=step, path=f"checkpoints/step-{step:08d}", bytes=134_000_000, save_s=0.8, ok=True,
                reason="schedule", removed=[],
            )  # fmt: skip
            writer.emit("phase", step=step, name="train", detail="", done_frac=None)


def _step(writer: EventWriter, clock: Clock, script: Script, step: int, random: np.random.Generator) -> None:
    step_s = 0.66 * float(random.lognormal(0, 0.05))
    clock.pass_s(step_s)
    loss = loss_at(step, script.total) + float(random.normal(0, 0.06))
    if step in script.nan_at:
        loss = math.nan
    fields = step_fields(step, script.total, loss, step_s, float(random.lognormal(0, 0.3)))
    if script.stage == "dpo":
        fields |= {"loss": math.log(2) * loss / math.log(VOCABULARY)} | rewards_at(
            step, script.total, float(random.normal(0, 0.1))
        )
    writer.emit("step", step=step, **fields)
    if step in script.guard_at or step in script.nan_at:
        reason = "non_finite_loss" if step in script.nan_at else "grad_spike"
        writer.emit("guard", step=step, reason=reason, action="skip", value=loss, limit=6.0, batch_path=f"bad/step-{step}.txt")


def step_fields(step: int, total: int, loss: float, step_s: float, noise: float) -> dict[str, Any]:
    """The data of a step event."""
    warm = max(1, total // 50)
    lr = 2.4e-3 * (step / warm if step <= warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))))
    return {
        "loss": loss, "lr": lr, "grad_norm": 0.8 * noise + (4.0 if step < 5 else 0.0), "tokens": TOKENS_PER_STEP,
        "tokens_total": step * TOKENS_PER_STEP, "step_s": step_s, "data_s": 0.002, "tokens_per_s": TOKENS_PER_STEP / step_s,
        "mfu_frac": 7.4e7 * TOKENS_PER_STEP / step_s / 2.9e12, "memory_bytes": 1.21e9 + 2e6 * (step % 7), "peak_bytes": 1.29e9,
        "epoch": step / total,
    }  # fmt: skip


def rewards_at(step: int, total: int, noise: float) -> dict[str, float]:
    """What a step or evaluation of preference tuning says of its pairs."""
    margin = 1.6 * step / (step + 0.3 * total) + noise
    chosen = -0.4 * step / total + noise / 2
    rewards = {"reward_chosen": chosen, "reward_rejected": chosen - margin, "reward_margin": margin}
    return rewards | {"accuracy": min(1.0, max(0.0, 0.5 + 0.3 * margin))}


TEXTS = (
    "__ self ( , =\n\n",
    "get(self, name):\n    return self\n",
    "read(self, size=-1):\n    if size < 0:\n        return self._read()\n",
    "join(self, parts):\n    return self._sep.join(map(str, parts))\n",
    "close(self):\n    self._file.close()\n",
)
QUESTIONS = (
    "What is the name of the river that flows through the capital of France, and where does it rise?\n",
    "Is 4 even?\n",
)
ANSWERS = ("It is called the Seine. It rises in Burgundy, near Dijon, and flows through Paris to the Channel.", "Yes.")
IMPORTS = ("os\nimport sys\n", "re\nfrom os import path\n")


def _evaluate(writer: EventWriter, clock: Clock, script: Script, step: int) -> None:
    writer.emit("phase", step=step, name="eval", detail="", done_frac=None)
    clock.pass_s(2.5)
    loss = loss_at(step, script.total) + 0.07
    judged: dict[str, Any] = {"loss": loss, "bits_per_byte": loss / math.log(2) / 3.4, "tokens": 200_000, "bytes": 680_000}
    if script.stage == "dpo":
        judged |= {"loss": 0.69 * loss / math.log(VOCABULARY), "bits_per_byte": math.nan, "bytes": 0}
        judged |= rewards_at(step, script.total, -0.1)
    writer.emit("eval", step=step, eval_s=2.5, best=True, **judged)
    writer.emit("phase", step=step, name="sample", detail="", done_frac=None)
    clock.pass_s(1.0)
    grade = int(4 * step / script.total)
    chats = script.stage in ("sft", "dpo")
    for index, prompt in enumerate(QUESTIONS if chats else ("def ", "import ")):
        text = ANSWERS[index] if chats else TEXTS[grade] if index == 0 else IMPORTS[step % 2]
        if script.hostile:
            prompt = text = HOSTILE
        writer.emit("sample", step=step, index=index, prompt=prompt, text=text, tokens=24, sample_s=0.5)
    writer.emit("phase", step=step, name="train", detail="", done_frac=None)


ALIVE = ("live", "resumed", "paused", "loading", "hostile", "preference", "ranks")
RANKS, SLOW_RANK, FULL_RANK = 4, 2, 3
"""Of the story `ranks`: how many there are, which of them comes late to every collective, which needs the most memory."""


def write_ranks(events_dir: Path, clock: Clock, *, steps: tuple[int, ...], step_s: float = 0.66) -> None:
    """What four processes tell of themselves and of the collectives of some steps."""
    for rank in range(RANKS):
        path = events_dir / f"rank{rank:05d}.jsonl"
        with clocked_writer(path, clock, rank=rank) as writer:
            if rank:
                start = {"world_size": RANKS, "device": "cpu (fake)", "host": HOST, "attempt": 1}
                writer.emit("run_start", step=0, resumed_from_step=0, pid=1 + rank, **start)
    for number, step in enumerate(steps):
        begin_ns = clock()
        for rank in range(RANKS):
            late_s = 0.08 if rank == SLOW_RANK else 0.001 * rank
            # Two collectives: each begins 0.2 s after the one before has run, which is when the slow rank has come.
            calls = [[0, 2 * number + index, int(1e9 * (0.2 + late_s + index * 0.28))] for index in range(2)]
            with clocked_writer(events_dir / f"rank{rank:05d}.jsonl", clock, rank=rank) as writer:
                writer.emit(
                    "collectives", step=step, begin_ns=begin_ns, steps=[[step, 0, int(1e9 * step_s)]], whole=True,
                    arrivals=calls, payload_bytes=1 << 20, groups=[{"name": "0", "ranks": list(range(RANKS))}],
                )  # fmt: skip
                share = 0.1 if rank == SLOW_RANK else 0.3 + 0.01 * rank
                writer.emit("communication", step=step + 1, step_s=step_s, communicating_s=share * step_s, operations=2)
                if rank:
                    peak = 1.44e9 if rank == FULL_RANK else 1.2e9 + 1e7 * rank
                    fields = {"memory_bytes": 0.9 * peak, "peak_bytes": peak, "step_s": step_s, "data_s": 0.01}
                    writer.emit("step", step=step + 1, **fields)
        clock.pass_s(step_s)


def make_run(root: Path, story: Story = "live", *, name: str = "", total: int = 1200, created: int = 0) -> tuple[Run, float]:
    """(run, the time at which to look at it). `created` orders runs in the list: greater is newer."""
    run = Run(root / (name or f"demo-20251009-085320-{story}"))
    shutil.rmtree(run.path, ignore_errors=True)
    run.events_dir.mkdir(parents=True)
    clock = Clock()
    state = _tell(run, clock, story, total) if story != "fresh" else "starting"
    _write_folder(run, story, total)
    now_s = clock.now_ns / 1e9 + 2
    _write_status(run, state, now_s, alive=story in ALIVE)
    os.utime(run.path / "config.toml", (START_S + created, START_S + created))
    return run, now_s


def _tell(run: Run, clock: Clock, story: Story, total: int) -> str:
    """Write the events of a story; returns the state for status.json."""
    part = total * 41 // 100
    every = {"eval_every": total // 12, "save_every": total // 6}
    rank0 = run.events_dir / "rank00000.jsonl"
    with clocked_writer(rank0, clock) as writer:
        if story == "loading":
            writer.emit("phase", step=0, name="data", detail="tokenising Lib/asyncio (7 of 17 MB)", done_frac=0.41)
            clock.pass_s(3)
            return "running"
        if story == "blocked":
            return _block(writer, clock)
        last = total if story in ("finished", "tuned") else part
        if story == "resumed":
            write_attempt(writer, clock, Script(total=total, last=part * 3 // 4, **every))
            writer.emit(
                "warning", step=part * 3 // 4, message="throughput fell by 22 % for 30 s", hint="another process uses the CPU"
            )
    if story == "resumed":
        with clocked_writer(run.events_dir / "supervisor.jsonl", clock, rank=SUPERVISOR_RANK) as writer:
            writer.emit("run_end", step=part * 3 // 4, state="failed", reason="a trainer was killed (SIGKILL)", exit_code=-9)
        clock.pass_s(60)
        with clocked_writer(rank0, clock) as writer:
            first = part * 3 // 4 // (total // 6) * (total // 6) + 1
            write_attempt(writer, clock, Script(total=total, first=first, last=part, attempt=2, guard_at=(part - 20,), **every))
        return "running"
    with clocked_writer(rank0, clock) as writer:
        nan_at = (part // 2,) if story in ("failed", "hostile") else ()
        stage, hostile = STAGES.get(story, "pretrain"), story == "hostile"
        size = RANKS if story == "ranks" else 1
        write_attempt(
            writer,
            clock,
            Script(total=total, last=last, nan_at=nan_at, hostile=hostile, stage=stage, world_size=size, **every),
        )
        if story == "live":
            writer.emit("warning", step=last, message="throughput fell by 22 % for 30 s", hint="another process uses the CPU")
        if story == "hostile":
            writer.emit("warning", step=last, message=HOSTILE, hint=HOSTILE)
            writer.emit("phase", step=last, name="train", detail=HOSTILE, done_frac=None)
        state = _end(writer, story, last)
    if story == "ranks":
        write_ranks(run.events_dir, clock, steps=tuple(range(last - 5, last)))
        (run.path / "logs").mkdir()
        (run.path / "logs" / "rank00001.log").write_text("rank 1 was here\n")
    return state


def _block(writer: EventWriter, clock: Clock) -> str:
    """A fine-tuning run that the flight check stops."""
    writer.emit("phase", step=0, name="data", detail="reading examples", done_frac=None)
    clock.pass_s(4)
    writer.emit("phase", step=0, name="check", detail="examples, masks, template, tokenizer", done_frac=None)
    clock.pass_s(1)
    reason = "1 finding of the flight check blocks the start\n  " + f"{BLOCKING['check']}: {BLOCKING['message']}"
    writer.emit("run_end", step=0, state="failed", reason=reason, wall_s=5.0, exit_code=2)
    return "failed"


def _finding(check: str, severity: str, message: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "severity": severity, "message": message, "fix": "", "where": [], "count": 0, **more}


BLOCKING = _finding(
    "truncation", "block",
    "12 of 2,000 examples are longer than train.seq_len 512 (the longest: 1,733); cutting them would take their answers' ends",
    fix="train.seq_len=1792, or data.too_long=drop leaves them out, data.too_long=truncate cuts what can be cut",
    where=["chats.jsonl:18", "chats.jsonl:204", "chats.jsonl:377", "chats.jsonl:612", "chats.jsonl:1190"], count=12,
)  # fmt: skip
FINDINGS = (
    _finding(
        "split", "warn", "3 conversations became an example for each answer: the template rewrites earlier turns",
        where=["chats.jsonl:7", "chats.jsonl:31", "chats.jsonl:90"], count=3, fix="nothing has to be done",
    ),
    _finding("mask", "ok", "41,220 of 96,004 tokens are trained (43%): the answers and the tokens that end them", count=1900),
    _finding("end token", "ok", "every answer ends in one of <|im_end|>"),
    _finding("data", "ok", "1,900 examples to train on, 100 held out"),
)  # fmt: skip
HOSTILE_FINDING = _finding(HOSTILE, "warn", HOSTILE, fix=HOSTILE, where=[HOSTILE], count=2)


def _end(writer: EventWriter, story: Story, step: int) -> str:
    if story == "paused":
        writer.emit("control_ack", step=step, id="aa", command="pause", ok=True, detail="paused after this step")
        writer.emit("phase", step=step, name="paused", detail=f"after step {step}", done_frac=None)
        return "paused"
    endings = {
        "finished": "all steps done",
        "tuned": "all steps done",
        "failed": "loss is not finite for 5 steps",
        "killed": "killed on request",
    }
    if story not in endings:
        return "running"
    loss = loss_at(step, step) if story in ("finished", "tuned") else math.nan
    state = "finished" if story == "tuned" else str(story)
    writer.emit(
        "run_end", step=step, state=state, reason=endings[story], loss=loss, eval_loss=2.31, bits_per_byte=0.82, wall_s=900.0,
        tokens_total=step * TOKENS_PER_STEP, peak_bytes=1.29e9,
    )  # fmt: skip
    return state


def _write_folder(run: Run, story: Story, total: int) -> None:
    (run.path / "config.toml").write_text("[run]\nname = 'demo'\n")
    stage = {"stage": STAGES[story]} if story in STAGES else {}
    config = {"run": {"name": "demo"} | stage, "schedule": {"kind": "cosine"}, "train": {"steps": total}}
    (run.path / "resolved.json").write_text(json.dumps({"config": config}))
    if story in STAGES or story == "hostile":
        findings = [BLOCKING] if story == "blocked" else [HOSTILE_FINDING] if story == "hostile" else []
        (run.path / "flight.json").write_text(json.dumps([*findings, *FINDINGS]))
    formula = "tokens_per_s = tokens_per_step / step_s\n  = 8192 / 0.602 s"
    plan = {"memory": {"capacity_bytes": 24 * 2**30}, "explain": {"time.tokens_per_s": formula}}
    (run.path / "plan.json").write_text(json.dumps(plan))
    progress = "\r 10%|#   |\r 90%|####|"
    lines = [f"tuitrain: attempt 1 of {run.run_id}", "loading [train] split", progress, "self-test: sdpa ok", "training"]
    if story == "hostile":
        lines.append(HOSTILE)
    if story != "fresh":
        run.log_file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    for step in (total // 6, total // 3):
        (run.checkpoints_dir / f"step-{step:08d}").mkdir(parents=True)


def _write_status(run: Run, state: str, now_s: float, *, alive: bool) -> None:
    """A live run's process is the one that runs the test."""
    me = ProcessId.current() if alive else ProcessId(pid=2**22 - 3, start_time_s=START_S)
    beat = {"heartbeat_s": now_s - 1, "progress_s": now_s - 1}
    write_status(run.path, Status(state=state, host=socket.gethostname(), attempt=1, supervisor=me, trainer=me, **beat))


CHATS = (
    ("What is the capital of France?", "Paris, on the Seine."),
    ("What is 2 + 2?", "4."),
    ("Write a function that adds two numbers.", "def add(first, second):\n    return first + second"),
    ("Say it with an accent.", "Gr\u00fc\u00dfe aus Z\u00fcrich, voil\u00e0 l'\u00e9t\u00e9."),
    ("What does this print?", HOSTILE),
    ("Is 4 even?", "Yes."),
    ("Name the days of the week.", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday. " * 4),
    ("Why is the sky blue?", "Air scatters blue light more than red."),
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def give_examples(run: Run, folder: Path, *, stage: str = "sft", packing: bool = True, template: str = CHAT_TEMPLATE) -> None:
    """A base in `folder/base`, examples in `folder/chats.jsonl`, and a resolved.json that names both. A relative folder keeps
    what is shown of it the same wherever the test runs."""
    from tuitrain.config.resolved import Resolved
    from tuitrain.config.schema import Config

    write_base(folder / "base", template)
    rows: list[dict[str, Any]] = []
    for asked, told in CHATS:
        question, answer = {"role": "user", "content": asked}, {"role": "assistant", "content": told}
        pair = {"prompt": [question], "chosen": [answer], "rejected": [answer | {"content": "I do not know."}]}
        rows.append(pair if stage == "dpo" else {"messages": [question, answer]})
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = Config.model_validate({
        "run": {"name": "demo", "stage": stage}, "model": {"base": str(folder / "base")},
        "data": {
            "sources": [{"path": str(folder / "chats.jsonl")}], "packing": packing and stage == "sft", "too_long": "truncate",
            "validation_frac": 0.05,
        },
        "train": {"seq_len": 96, "batch_tokens": 96, "steps": 10},
    })  # fmt: skip
    Resolved(config=config).save(run.path)


def write_base(folder: Path, template: str) -> None:
    """A tokenizer of bytes and of the first letters of words, which is the same on every machine, and its chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary = {token: number for number, token in enumerate(sorted(pieces.alphabet()))}
    merges: list[tuple[str, str]] = []
    words = {word for row in CHATS for text in row for word, _ in pieces.pre_tokenize_str(text)} | {"user", "assistant"}
    for word in sorted(words):
        for end in range(2, min(len(word), 5) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pieces, decoders.ByteLevel()
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    sizes = {"model_type": "llama", "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(sizes))
    (folder / "chat_template.jinja").write_text(template)


def write_long_log(events_dir: Path, *, steps: int, total: int | None = None) -> None:
    """A log of many steps in one write, for benchmarks: the lines an EventWriter would append one by one."""
    events_dir.mkdir(parents=True, exist_ok=True)
    total = total or steps
    lines, now_ns = [], int(START_S * 1e9)

    def add(kind: str, step: int, **data: Any) -> None:
        lines.append(encode_line(Event(seq=len(lines) + 1, t_ns=now_ns, rank=0, step=step, kind=kind, data=data)))

    whole = {"tokens_per_step": TOKENS_PER_STEP, "total_tokens": total * TOKENS_PER_STEP}
    add("run_start", 0, total_steps=total, resumed_from_step=0, attempt=1, **whole)
    add("plan", 0, **plan_event(total))
    add("phase", 0, name="train", detail="", done_frac=None)
    jitter = np.random.default_rng(7).normal(0, 0.06, steps).tolist()
    for step in range(1, steps + 1):
        now_ns += 660_000_000
        noise = jitter[step - 1]
        add("step", step, **step_fields(step, total, loss_at(step, total) + noise, 0.66, 1 + abs(noise)))
        if step % max(1, steps // 50) == 0:
            loss = loss_at(step, total) + 0.07
            add("eval", step, loss=loss, bits_per_byte=loss / 2.3, tokens=1, bytes=3, eval_s=1.0, best=True)
            add(
                "checkpoint",
                step,
                path=f"checkpoints/step-{step:08d}",
                bytes=1,
                save_s=1.0,
                ok=True,
                reason="schedule",
                removed=[],
            )
    (events_dir / "rank00000.jsonl").write_bytes(b"".join(lines))
