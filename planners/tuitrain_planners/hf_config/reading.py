"""Reading one config.json: typed look-ups that remember what was read, so that the rest can be refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.parts import SlidingWindow

HARMLESS: Final = frozenset({
    # bookkeeping
    "_attn_implementation", "_name_or_path", "architectures", "auto_map", "bos_token_id", "cache_implementation",
    "dtype", "eos_token_id", "gradient_checkpointing", "id2label", "is_decoder", "is_llama_config", "label2id",
    "model_type", "pad_token_id", "pretraining_tp", "quantization_config", "task_specific_params", "tokenizer_class",
    "tokenizer_name", "torch_dtype", "transformers.js_config", "transformers_version", "use_cache",
    # activations, initialisation, dropout, epsilons
    "activation", "activation_function", "attention_dropout", "attn_pdrop", "classifier_dropout", "dropout",
    "emb_pdrop", "embd_pdrop", "hidden_act", "hidden_activation", "hidden_dropout", "init_config", "init_device",
    "init_std", "initializer_range", "layer_norm_eps", "layer_norm_epsilon", "layerdrop", "resid_pdrop", "rms_norm_eps",
    # positions and scaling of scores
    "attn_logit_softcapping", "n_ctx", "original_max_position_embeddings", "partial_rotary_factor",
    "query_pre_attn_scalar", "reorder_and_upcast_attn", "rope_interleave", "rope_interleaved", "rope_local_base_freq",
    "rope_parameters", "rope_scaling", "rope_theta", "rotary", "rotary_dim", "rotary_emb_base", "rotary_pct",
    "scale_attn_by_inverse_layer_idx", "scale_attn_weights",
    # how routers choose and are balanced
    "aux_loss_alpha", "ep_size", "n_group", "norm_topk_prob", "output_router_logits", "routed_scaling_factor",
    "router_aux_loss_coef", "router_jitter_noise", "scoring_func", "seq_aux", "topk_group", "topk_method",
    # of one family each
    "apply_residual_connection_post_layernorm", "attention_softmax_in_fp32", "bias_dropout_fusion",
    "embedding_fraction", "logit_scale", "masked_softmax_fusion", "norm_type", "offset_alibi", "skip_bias_add",
    "skip_bias_add_qkv", "slow_but_exact", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "unk_token_id",
})  # fmt: skip
"""Keys that change no count."""


class Reading:
    """The values of one config.json. A key that is null counts as missing, as in transformers."""

    def __init__(self, values: Mapping[str, Any], name: str, file: Path) -> None:
        self.values = values
        self.name = name
        self.file = file
        self._seen: set[str] = set()

    def get(self, key: str) -> Any:
        """The value as it stands; None when missing."""
        self._seen.add(key)
        return self.values.get(key)

    def optional(self, key: str) -> int | None:
        """A whole number or nothing."""
        value = self.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise PlanError(f"{self.file}: {key} is {value!r}", "a whole number is needed there")
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number; without a default it must be there."""
        value = self.optional(key)
        value = default if value is None else value
        if value is None:
            raise PlanError(f"{self.file}: {key} is None", "a whole number is needed there")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise PlanError(f"{self.file}: {key} is {value!r}", "true or false is needed there")
        return value

    def must(self, key: str, *usual: Any, why: str) -> None:
        """Refuse a key whose value is none of the usual ones; missing is usual."""
        value = self.get(key)
        if value is not None and value not in usual:
            raise PlanError(f"{self.file}: {key} is {value!r}", why)

    def ignore(self, *keys: str) -> None:
        """Keys that follow from others in this family."""
        self._seen.update(keys)

    def unread(self) -> list[str]:
        """Keys that nothing has asked for and that are not known to be harmless. Those with an underscore are notes of whoever
        wrote the file."""
        return sorted(key for key in set(self.values) - self._seen - HARMLESS if not key.startswith("_"))

    def window(self, num_layers: int, by_rule: int, *, on: bool = True, default: int | None = None) -> SlidingWindow | None:
        """Sliding windows: as many layers as `layer_types` says, or `by_rule` where it is missing; none when not
        `on`. `default`: the size where the key is missing; null means none."""
        size, types = self.optional("sliding_window"), self.get("layer_types")
        size = size if "sliding_window" in self.values else default
        if types is not None:
            by_rule = self._sliding_layers(types, num_layers)
            if by_rule and not (size and on):
                raise PlanError(
                    f"{self.file}: {by_rule} layers with a sliding window, and sliding_window is {size!r}"
                    f"{'' if on else ' with use_sliding_window off'}",
                    "give the window's size in tokens",
                )
        return SlidingWindow(size=size, num_layers=by_rule) if size and by_rule and on else None

    def _sliding_layers(self, types: Any, num_layers: int) -> int:
        if not isinstance(types, list) or len(types) != num_layers:
            raise PlanError(f"{self.file}: layer_types does not name {num_layers} layers", "one type for each layer")
        if other := sorted({str(each) for each in types} - {"full_attention", "sliding_attention"}):
            raise PlanError(
                f"{self.file}: layers of type {', '.join(other)} are not planned", "full_attention and sliding_attention are"
            )
        return types.count("sliding_attention")
