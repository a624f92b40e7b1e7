"""TRL's SFTTrainer, held before each step: full, LoRA or QLoRA, packed (best fit) or padded, on answers only.

python -m benchmarks.peers.trl_sft '{"examples": "...", "method": "lora", "packing": true, ...}'      run by finetune_speed
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

from benchmarks.finetune_gate import Gate, memory


def main() -> None:
    """Train until the parent has seen enough."""
    gate, asked = Gate(), json.loads(sys.argv[1])
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from tuitrain.model.quantise import require_bitsandbytes
    from tuitrain_kernels.attention.flash import flash_unavailable

    torch.set_num_threads(asked["threads"])
    cuda, method = torch.cuda.is_available(), asked["method"]
    device = torch.device("cuda" if cuda else "cpu")
    require_bitsandbytes()
    imported = memory()["peak_bytes"]

    class Counting(SFTTrainer):
        """Counts what a step reads and learns from."""

        seen: dict[str, Any] = {"tokens": 0, "targets": 0, "loss": 0.0}  # noqa: RUF012

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **keywords: Any) -> Any:
            mask = inputs.get("attention_mask")
            self.seen["tokens"] += int(inputs["input_ids"].numel() if mask is None else mask.sum())
            self.seen["targets"] += int((inputs["labels"] != -100).sum())
            loss = super().compute_loss(model, inputs, *arguments, **keywords)
            self.seen["loss"] += float(loss)
            return loss

    class Turns(TrainerCallback):
        """Waits at the end of each step."""

        def on_train_begin(self, *arguments: Any, **keywords: Any) -> None:
            gate.turn(imported_bytes=imported)

        def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
            gate.turn(**trainer.seen)
            trainer.seen.update(tokens=0, targets=0, loss=0.0)

    extra: dict[str, Any] = {}
    if method == "qlora":
        extra = {"device_map": {"": 0} if cuda else "cpu", "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16)}  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        asked["base"], dtype=torch.float32 if method == "full" else torch.bfloat16,
        attn_implementation="flash_attention_2" if flash_unavailable(device, torch.bfloat16) is None else "sdpa", **extra,
    )  # fmt: skip
    adapter = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    rows, each = asked["rows"], asked["micro_batch"]
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, max_steps=1000, per_device_train_batch_size=each, gradient_accumulation_steps=rows // each,
            max_length=asked["seq_len"], packing=asked["packing"], completion_only_loss=True, gradient_checkpointing=False,
            bf16=True, use_cpu=not cuda, learning_rate=1e-4, max_grad_norm=1.0, adam_beta2=0.95, optim="adamw_torch_fused",
            save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no", seed=1,
        )  # fmt: skip
        trainer = Counting(
            model=model, args=arguments, train_dataset=load_dataset("json", data_files=asked["examples"], split="train"),
            processing_class=AutoTokenizer.from_pretrained(asked["base"]), callbacks=[Turns()],
            peft_config=None if method == "full" else adapter,
        )  # fmt: skip
        trainer.train()


if __name__ == "__main__":
    main()
