"""Families with a mixture of experts: mixtral, qwen2_moe, qwen3_moe, deepseek_v3."""

from __future__ import annotations

from tuitrain_planners.errors import PlanError
from tuitrain_planners.hf_config.reading import Reading
from tuitrain_planners.hf_config.rms_norm import build, refuse_biases
from tuitrain_planners.parts import Experts, LatentAttention
from tuitrain_planners.shapes import ModelShape


def mixtral(config: Reading) -> ModelShape:
    """mixtral: every layer has experts of `intermediate_size`; a window in every layer unless it is null."""
    layers = config.size("num_hidden_layers")
    refuse_biases(config, "mixtral")
    experts = Experts(
        num=config.size("num_local_experts", 8),
        per_token=config.size("num_experts_per_tok", 2),
        ffn_size=config.size("intermediate_size"),
    )
    return build(config, "mixtral", experts=experts, window=config.window(layers, layers))


def qwen2_moe(config: Reading) -> ModelShape:
    """qwen2_moe: routed and shared experts, the shared ones behind a gate; windows in every other lower layer, if any."""
    layers = config.size("num_hidden_layers")
    below, on = config.size("max_window_layers", 28), config.flag("use_sliding_window", False)
    window = config.window(layers, -(-min(layers, below) // 2), on=on)
    experts = Experts(
        num=config.size("num_experts", 60),
        per_token=config.size("num_experts_per_tok", 4),
        ffn_size=config.size("moe_intermediate_size", 1408),
        shared_ffn_size=config.size("shared_expert_intermediate_size", 5632),
        shared_gate=True,
        first_dense_layers=_first_dense(config),
    )
    return build(config, "qwen2-moe", experts=experts, window=window, qkv_bias=config.flag("qkv_bias", True))


def qwen3_moe(config: Reading) -> ModelShape:
    """qwen3_moe: routed experts alone. `num_experts` is `num_local_experts` in files of newer versions."""
    layers, on = config.size("num_hidden_layers"), config.flag("use_sliding_window", False)
    config.ignore("max_window_layers")  # its class has no such field: a window is in every layer or in none
    experts = Experts(
        num=config.size("num_experts", config.optional("num_local_experts") or 128),
        per_token=config.size("num_experts_per_tok", 8),
        ffn_size=config.size("moe_intermediate_size", 768),
        first_dense_layers=_first_dense(config),
    )
    bias, window = config.flag("attention_bias", False), config.window(layers, layers, on=on)
    # The class has no head_dim of its own: hidden_size / num_attention_heads where the file names none.
    return build(config, "qwen3-moe", experts=experts, window=window, attention_bias=bias)


def deepseek_v3(config: Reading) -> ModelShape:
    """deepseek_v3: latent attention, dense layers first, shared experts, a correction per expert beside the router.

    That correction is in the files and in the published count; transformers keeps it as a buffer, outside `parameters()`.
    """
    config.must("attention_bias", False, why="latent attention with biases is not counted")
    config.must("moe_layer_freq", 1, why="experts in some layers only are not counted")
    config.ignore("head_dim", "qk_head_dim", "num_nextn_predict_layers", "num_mtp_layers")
    heads, width = config.size("num_attention_heads"), config.size("moe_intermediate_size", 2048)
    nope, rope = config.size("qk_nope_head_dim", 128), config.size("qk_rope_head_dim", 64)
    latent = LatentAttention(
        kv_rank=config.size("kv_lora_rank", 512),
        q_rank=config.optional("q_lora_rank") if "q_lora_rank" in config.values else 1536,
        nope_head_dim=nope,
        rope_head_dim=rope,
        value_head_dim=config.size("v_head_dim", 128),
    )
    config.ignore("q_lora_rank")
    experts = Experts(
        num=config.size("n_routed_experts", 256),
        per_token=config.size("num_experts_per_tok", 8),
        ffn_size=width,
        shared_ffn_size=width * config.size("n_shared_experts", 1),
        first_dense_layers=config.size("first_k_dense_replace", 3),
        router_bias=True,
    )
    return build(config, "deepseek-v3", experts=experts, latent=latent, num_kv_heads=heads, head_dim=nope + rope)


def _first_dense(config: Reading) -> int:
    """Dense layers at the start: `mlp_only_layers`, which must be the first ones."""
    config.must("decoder_sparse_step", 1, why="experts in every so manieth layer are not counted")
    dense = config.get("mlp_only_layers") or []
    if sorted(dense) != list(range(len(dense))):
        raise PlanError(f"{config.file}: mlp_only_layers is {dense!r}", "only dense layers at the start are counted")
    return len(dense)
