"""Families with RMSNorm and gated feed-forwards: llama and its relatives."""

from __future__ import annotations

from typing import Any

from tuitrain_planners.errors import PlanError
from tuitrain_planners.families import FAMILIES
from tuitrain_planners.hf_config.reading import Reading
from tuitrain_planners.parts import SlidingWindow
from tuitrain_planners.shapes import ModelShape

_GEMMA_3 = {"vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 131_072}
"""Defaults that the published files of gemma3 leave out."""


def llama(config: Reading) -> ModelShape:
    """llama; `head_dim` may be its own."""
    _no_window(config, "llama")
    return build(config, "llama", attention_bias=_bias(config, "attention_bias"), ffn_bias=_bias(config, "mlp_bias"))


def mistral(config: Reading) -> ModelShape:
    """mistral: a window in every layer unless it is null (the class's default is 4096)."""
    layers = config.size("num_hidden_layers")
    on = config.flag("use_sliding_window", True)
    refuse_biases(config, "mistral")
    return build(config, "llama", window=config.window(layers, layers, on=on, default=4096))


def qwen2(config: Reading) -> ModelShape:
    """qwen2 and Qwen 2.5: biases on q, k and v; windows in the layers after `max_window_layers`."""
    return build(config, "qwen2", window=_upper_window(config))


def qwen3(config: Reading) -> ModelShape:
    """qwen3: heads of 128 unless said otherwise."""
    bias = _bias(config, "attention_bias")
    return build(config, "qwen3", default_head_dim=128, attention_bias=bias, window=_upper_window(config))


def nanochat(config: Reading) -> ModelShape:
    """nanochat: norms without weights, squared ReLU in two matrices."""
    refuse_biases(config, "nanochat")
    config.ignore("final_logit_softcapping")
    return build(config, "nanochat")


def olmo2(config: Reading) -> ModelShape:
    """olmo2: norms behind the blocks, and over all queries and keys together."""
    return build(config, "olmo2", attention_bias=_bias(config, "attention_bias"))


def smollm3(config: Reading) -> ModelShape:
    """smollm3: some layers without rotary positions; windows, if any, in those."""
    layers, on = config.size("num_hidden_layers"), config.flag("use_sliding_window", False)
    config.ignore("max_window_layers")  # in published files; its class does not read it
    interval, rotary = config.size("no_rope_layer_interval", 4), config.get("no_rope_layers")
    without = layers // interval if rotary is None else sum(not each for each in rotary[:layers])
    attention, ffn, window = _bias(config, "attention_bias"), _bias(config, "mlp_bias"), config.window(layers, without, on=on)
    return build(config, "llama", tie=True, window=window, attention_bias=attention, ffn_bias=ffn)


def phi3(config: Reading) -> ModelShape:
    """phi3 and phi-4: llama with fused matrices; a window in every layer unless it is null."""
    layers = config.size("num_hidden_layers")
    refuse_biases(config, "phi3")
    return build(config, "phi3", window=config.window(layers, layers))


def gemma(config: Reading) -> ModelShape:
    """gemma: heads of 256, embedding and head tied."""
    config.must("use_bidirectional_attention", False, why="only causal models are planned")
    return build(config, "gemma", default_head_dim=256, attention_bias=_bias(config, "attention_bias"))


def gemma2(config: Reading) -> ModelShape:
    """gemma2: four norms a layer, a window in every other one, logits capped unless the cap is null."""
    layers = config.size("num_hidden_layers")
    return _gemma_with_windows(config, "gemma2", config.window(layers, -(-layers // 2), default=4096), cap=30.0)


def gemma3_text(config: Reading) -> ModelShape:
    """gemma3_text: full attention in every sixth layer (`sliding_window_pattern`)."""
    layers = config.size("num_hidden_layers")
    pattern = config.size("sliding_window_pattern", config.size("_sliding_window_pattern", 6))
    window = config.window(layers, layers - layers // pattern, default=4096)
    return _gemma_with_windows(config, "gemma3", window, cap=None, defaults=_GEMMA_3)


def gemma3(config: Reading) -> ModelShape:
    """gemma3: the text model in `text_config`; vision tower and projector are not part of the shape."""
    inner = config.get("text_config")
    config.ignore("vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index")
    if not isinstance(inner, dict) or inner.get("model_type", "gemma3_text") != "gemma3_text":
        raise PlanError(f"{config.file}: text_config is no gemma3_text", "the nested text model is what is planned")
    tied = config.flag("tie_word_embeddings", True)
    nested = Reading({"tie_word_embeddings": tied, **inner}, config.name, config.file)
    shape = gemma3_text(nested)
    if strange := nested.unread():
        raise PlanError(
            f"{config.file}: text_config.{', text_config.'.join(strange)} of a gemma3 model not understood",
            "a key that changes the count must not be guessed at; describe the model in a TOML file like presets/models/*.toml",
        )
    return shape


def _gemma_with_windows(
    config: Reading,
    architecture: str,
    window: SlidingWindow | None,
    *,
    cap: float | None,
    defaults: dict[str, int] | None = None,
) -> ModelShape:
    config.must("use_bidirectional_attention", False, why="only causal models are planned")
    cap = config.get("final_logit_softcapping") if "final_logit_softcapping" in config.values else cap
    config.ignore("final_logit_softcapping")
    bias = _bias(config, "attention_bias")
    return build(
        config,
        architecture,
        default_head_dim=256,
        window=window,
        attention_bias=bias,
        logit_softcap=cap is not None,
        defaults=defaults,
    )


def build(
    config: Reading,
    architecture: str,
    *,
    default_head_dim: int | None = None,
    tie: bool | None = None,
    defaults: dict[str, int] | None = None,
    **parts: Any,
) -> ModelShape:
    """A shape from llama's names of the sizes. `default_head_dim`, `tie` and `defaults`: what the family's class assumes."""
    family, defaults = FAMILIES[architecture], defaults or {}
    heads = config.size("num_attention_heads", defaults.get("num_attention_heads"))
    hidden = config.size("hidden_size")
    tie = bool(family.get("tie_embeddings", False)) if tie is None else tie
    sizes = {
        "vocab_size": config.size("vocab_size", defaults.get("vocab_size")),
        "hidden_size": hidden,
        "num_layers": config.size("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": config.size("num_key_value_heads", defaults.get("num_key_value_heads", heads)),
        "head_dim": config.size("head_dim", default_head_dim or hidden // heads),
        "ffn_size": config.size("intermediate_size"),
        "max_seq_len": config.size("max_position_embeddings", defaults.get("max_position_embeddings")),
        "tie_embeddings": config.flag("tie_word_embeddings", tie),
    }
    return ModelShape(**{**family, "name": config.name, "architecture": architecture, **sizes, **parts})


def refuse_biases(config: Reading, family: str) -> None:
    """Families without biases in their code: a config that asks for them is none of theirs."""
    for key in ("attention_bias", "mlp_bias"):
        config.must(key, False, why=f"{family} models have no biases there")


def _bias(config: Reading, key: str) -> bool:
    return config.flag(key, False)


def _no_window(config: Reading, family: str) -> None:
    on = config.flag("use_sliding_window", True)
    if config.window(config.size("num_hidden_layers"), 0, on=on) or (config.get("sliding_window") and on):
        raise PlanError(f"{config.file}: attention in windows", f"{family} models have none; set sliding_window to null")


def _upper_window(config: Reading) -> SlidingWindow | None:
    layers, below = config.size("num_hidden_layers"), config.size("max_window_layers", 28)
    return config.window(layers, max(0, layers - below), on=config.flag("use_sliding_window", False))
