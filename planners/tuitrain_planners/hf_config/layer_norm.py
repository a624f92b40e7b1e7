"""Families with LayerNorm and two-matrix feed-forwards: gpt2, gpt_neox, gptj, phi, falcon, mpt, bloom, opt."""

from __future__ import annotations

from typing import Any

from tuitrain_planners.errors import PlanError
from tuitrain_planners.families import FAMILIES
from tuitrain_planners.hf_config.reading import Reading
from tuitrain_planners.hf_config.rms_norm import build
from tuitrain_planners.shapes import ModelShape


def gpt2(config: Reading) -> ModelShape:
    """gpt2: learned positions, biases everywhere, the head tied."""
    config.must("add_cross_attention", False, why="only decoders are planned")
    hidden = config.size("n_embd")
    return _equal_heads(
        config, "gpt2", hidden, config.size("n_layer"), config.size("n_head"), ffn_size=config.size("n_inner", 4 * hidden),
        max_seq_len=config.size("n_positions"),
    )  # fmt: skip


def gptj(config: Reading) -> ModelShape:
    """gptj: parallel blocks behind one norm, biases on feed-forward and head."""
    hidden = config.size("n_embd")
    return _equal_heads(
        config, "gptj", hidden, config.size("n_layer"), config.size("n_head"), ffn_size=config.size("n_inner", 4 * hidden),
        max_seq_len=config.size("n_positions"),
    )  # fmt: skip


def gpt_neox(config: Reading) -> ModelShape:
    """gpt_neox (Pythia): parallel blocks behind a norm each, unless `use_parallel_residual` is off."""
    parallel, bias = config.flag("use_parallel_residual", True), config.flag("attention_bias", True)
    return build(config, "gpt-neox", parallel_block=parallel, attention_bias=bias)


def phi(config: Reading) -> ModelShape:
    """phi (1, 1.5, 2): parallel blocks behind one norm, biases everywhere."""
    return build(config, "phi", qk_norm=config.flag("qk_layernorm", False))


def falcon(config: Reading) -> ModelShape:
    """falcon: one key/value head (7B), or groups and two norms (40B, 180B: `new_decoder_architecture`)."""
    new, parallel = config.flag("new_decoder_architecture", False), config.flag("parallel_attn", True)
    heads, hidden = config.size("num_attention_heads"), config.size("hidden_size")
    given, multi_query = config.size("num_kv_heads", heads), config.flag("multi_query", True)
    norms, bias = config.size("num_ln_in_parallel_attn", 2 if new else 1), config.flag("bias", False)
    config.ignore("alibi")
    norms = 2 if not parallel or norms == 2 else 1
    return _equal_heads(
        config, "falcon", hidden, config.size("num_hidden_layers"), heads,
        num_kv_heads=1 if multi_query and not new else given if new else heads,
        ffn_size=config.size("ffn_hidden_size", 4 * hidden), max_seq_len=config.size("max_position_embeddings", 2048),
        norms_per_layer=norms, parallel_block=new or parallel, attention_bias=bias, ffn_bias=bias,
    )  # fmt: skip


def mpt(config: Reading) -> ModelShape:
    """mpt with ALiBi, as transformers builds it: no biases, norms without shifts, feed-forward 4 h."""
    attention = config.get("attn_config") or {}
    usual = {"attn_type": "multihead_attention", "qk_ln": False, "alibi": True}
    for key, value in usual.items():
        if attention.get(key, value) != value:
            raise PlanError(f"{config.file}: attn_config.{key} is {attention[key]!r}", f"only {value!r} is counted")
    if attention.get("kv_n_heads") not in (None, config.get("n_heads")):
        raise PlanError(
            f"{config.file}: attn_config.kv_n_heads is {attention['kv_n_heads']!r}", "only one per query head is counted"
        )
    config.must("no_bias", True, why="only mpt without biases is counted")
    config.must("expansion_ratio", 4, why="transformers builds mpt with 4 h whatever the file says")
    config.ignore("learned_pos_emb", "verbose")  # no table is built beside ALiBi
    hidden = config.size("d_model", 2048)
    return _equal_heads(
        config, "mpt", hidden, config.size("n_layers", 24), config.size("n_heads", 16), ffn_size=4 * hidden,
        max_seq_len=config.size("max_seq_len", 2048),
    )  # fmt: skip


def bloom(config: Reading) -> ModelShape:
    """bloom: ALiBi, a norm behind the embedding. No length in the file means 2048, what it was trained with."""
    hidden = config.size("hidden_size", config.optional("n_embed"))
    config.must("n_inner", 4 * hidden, why="bloom's feed-forward is 4 h wide")
    layers = config.size("n_layer", config.optional("num_hidden_layers"))
    heads = config.size("n_head", config.optional("num_attention_heads"))
    return _equal_heads(
        config, "bloom", hidden, layers, heads, ffn_size=4 * hidden, max_seq_len=config.size("seq_length", 2048)
    )


def opt(config: Reading) -> ModelShape:
    """opt: learned positions, two rows more than it is long."""
    hidden = config.size("hidden_size")
    config.must("word_embed_proj_dim", hidden, why="projected embeddings (OPT-350m) are not counted")
    config.must("do_layer_norm_before", True, why="norms behind the blocks (OPT-350m) are not counted")
    config.must("_remove_final_layer_norm", False, why="only models with a norm at the end are counted")
    config.must("layer_norm_elementwise_affine", True, why="only norms with scales are counted")
    config.ignore("prefix", "activation_dropout")
    bias = config.flag("enable_bias", True)
    return _equal_heads(
        config, "opt", hidden, config.size("num_hidden_layers"), config.size("num_attention_heads"),
        ffn_size=config.size("ffn_dim"), max_seq_len=config.size("max_position_embeddings"), attention_bias=bias, ffn_bias=bias,
    )  # fmt: skip


def _equal_heads(config: Reading, architecture: str, hidden: int, layers: int, heads: int, **parts: Any) -> ModelShape:
    """Heads that fill the width, as many for keys and values unless `parts` says otherwise."""
    family = FAMILIES[architecture]
    sizes = {
        "vocab_size": config.size("vocab_size"), "hidden_size": hidden, "num_layers": layers, "num_heads": heads,
        "num_kv_heads": heads, "head_dim": hidden // heads,
        "tie_embeddings": config.flag("tie_word_embeddings", bool(family["tie_embeddings"])),
    }  # fmt: skip
    return ModelShape(**{**family, "name": config.name, "architecture": architecture, **sizes, **parts})
