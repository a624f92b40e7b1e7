"""A Hugging Face causal model seen as our decoder: tokens in, hidden states out, a head beside. The class is transformers' own.

Weights are read from safetensors alone. Examples packed into one row stay blind to each other by their positions: where they
begin again at 0, transformers masks (SDPA) or cuts (flash attention) by itself - as long as no padding mask is given
(transformers #46634: an all-ones mask silently turns that off), so none ever is. Rows padded on the right need no mask either:
attention is causal. That both hold is tested before every run, see `trainer.flight`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuitrain.errors import CheckpointError, EnvironmentError_
from tuitrain.model.int8_table import quantise_tables
from tuitrain.model.quantise import keep_differentiable, quantisation_config

ATTENTION: Final = {"flash-attn": "flash_attention_2", "sdpa": "sdpa", "naive": "eager"}
"""Our names of backends to transformers'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOptions:
    """How a base is kept in memory."""

    dtype: torch.dtype
    """Of the weights that are not quantised."""
    quant: str | None = None
    """nf4 | int8 | None."""
    double_quant: bool = True
    quant_embedding: bool = False
    """Embedding and head in 8 bits too (`int8_table`)."""
    compute: torch.dtype = torch.float32
    trust_remote_code: bool = False


def load_base(folder: Path, options: LoadOptions, device: torch.device) -> Any:
    """The transformers model of a folder, on the device, in training mode."""
    from transformers import AutoModelForCausalLM

    extra: dict[str, Any] = {}
    if options.quant is not None:
        extra["quantization_config"] = quantisation_config(options.quant, options.compute, double=options.double_quant)
        extra["device_map"] = {"": device.index or 0} if device.type == "cuda" else "cpu"
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=options.dtype, use_safetensors=True, trust_remote_code=options.trust_remote_code, **extra
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        hint = (
            "model.trust_remote_code=true runs the code in its folder, if you trust it" if "remote code" in str(error) else ""
        )
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder} cannot be loaded: {first}", hint or "save it again with transformers 5") from error
    if options.quant is None:
        model.to(device)
    keep_differentiable(model)
    if options.quant_embedding:
        quantise_tables(model)
    model.config.use_cache = False
    model.train()
    return model


class Pretrained(nn.Module):
    """The model with what the trainer asks of a decoder. `adapted` is peft's wrapper, where adapters are trained."""

    def __init__(self, lm: Any, *, compute_dtype: torch.dtype, adapted: Any = None) -> None:
        super().__init__()
        self.lm, self.compute_dtype = lm, compute_dtype
        self._adapted = [adapted] if adapted is not None else []  # a list, so that parameters are not registered twice
        self._recompute, self._flash = "none", False

    @property
    def has_sdpa(self) -> bool:
        """Whether the family can use torch's own attention kernels."""
        return bool(getattr(self.lm, "_supports_sdpa", True))

    @property
    def adapted(self) -> Any:
        """peft's wrapper, or None."""
        return self._adapted[0] if self._adapted else None

    @property
    def lm_head(self) -> nn.Module:
        """The output head."""
        head: nn.Module = self.lm.get_output_embeddings()
        return head

    @property
    def logit_softcap(self) -> float | None:
        """Gemma 2 caps its logits."""
        cap = getattr(self.lm.config, "final_logit_softcapping", None)
        return None if cap is None else float(cap)

    @property
    def context(self) -> int:
        """Longest sequence it was made for."""
        return int(getattr(self.lm.config.get_text_config(), "max_position_embeddings", 0) or 2048)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        device: torch.device = next(self.lm.parameters()).device
        return device

    def forward(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """fp32 logits_BTV."""
        return self.logits(self.hidden(tokens_BT, document_ids_BT, positions_BT))

    def hidden(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, in the compute dtype."""
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device).expand_as(tokens_BT)
        batch, width = tokens_BT.shape
        if batch > 1 and document_ids_BT is not None and self._flash:
            # transformers' flash attention finds where packed examples begin in one row only: all rows become one.
            tokens_BT, positions_BT = tokens_BT.reshape(1, -1), positions_BT.reshape(1, -1)
        with self._autocast():
            out = self.lm.base_model(input_ids=tokens_BT, position_ids=positions_BT, attention_mask=None, use_cache=False)
        hidden: Tensor = out.last_hidden_state.to(self.compute_dtype)
        return hidden.view(batch, width, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head on hidden states of any leading shape, in fp32."""
        with self._autocast():
            logits: Tensor = self.lm_head(hidden).float()
        cap = self.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def set_attention(self, backend: str) -> None:
        """Use a backend in every layer."""
        try:
            self.lm.set_attn_implementation(ATTENTION[backend])
            self._flash = backend == "flash-attn"
        except (ImportError, ValueError) as error:
            raise EnvironmentError_(
                f"attention {backend!r}: {str(error).splitlines()[0][:200]}", "train.attention=auto takes one that it has"
            ) from error

    @property
    def recompute(self) -> str:
        """none | full."""
        return self._recompute

    @recompute.setter
    def recompute(self, kind: str) -> None:
        self._recompute = kind
        if kind == "none":
            self.lm.activation_checkpointing_disable()
        else:
            # Non-reentrant: the reentrant kind loses gradients where a frozen embedding feeds the first layer.
            self.lm.activation_checkpointing_enable({"use_reentrant": False})

    @torch.no_grad()
    def generate(
        self,
        rows: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        temperature: float,
        end_ids: Sequence[int],
        pad_id: int,
        seed: int,
    ) -> list[list[int]]:
        """What follows each row, with a key/value cache; ends are left off. Draws do not touch the random state of training."""
        longest = max(map(len, rows))
        # Padded on the left, where generation wants it; here, and only here, a padding mask is right.
        tokens = torch.tensor([[pad_id] * (longest - len(row)) + list(row) for row in rows], device=self.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.device)
        sampling: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            sampling |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self._autocast():
            torch.manual_seed(seed)
            made = self.lm.generate(
                tokens, attention_mask=mask, max_new_tokens=max_tokens, eos_token_id=list(end_ids) or None, pad_token_id=pad_id,
                use_cache=True, **sampling,
            )  # fmt: skip
        ends = set(end_ids)
        results = []
        for row in made[:, longest:].tolist():
            stop = next((at for at, number in enumerate(row) if number in ends), len(row))
            results.append(row[:stop])
        return results

    def without_adapter(self) -> AbstractContextManager[Any]:
        """The base alone: the reference model of preference tuning."""
        assert self.adapted is not None, "there is no adapter to leave out"
        context: AbstractContextManager[Any] = self.adapted.disable_adapter()
        return context

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.compute_dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.compute_dtype)
