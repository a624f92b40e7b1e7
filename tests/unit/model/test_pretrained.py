"""transformers' models seen as a decoder: small ones of every architecture with a trait of its own, against their own logits
and losses; packed rows against the examples alone; adapters and quantised weights against what they are put beside."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
import torch
from support.tuning import ARCHITECTURES, VOCAB, base_folder, tiny_lm

from tuitrain.config.schema import MethodSection
from tuitrain.errors import CheckpointError, EnvironmentError_, UsageError
from tuitrain.model.adapters import add_adapter, describe_base, load_adapter_weights, save_adapter
from tuitrain.model.int8_table import Int8Table, dequantise_rows, quantise_rows, quantise_tables, round_tables
from tuitrain.model.pretrained import LoadOptions, Pretrained, load_base
from tuitrain.model.quantise import quantised_bytes
from tuitrain.model.trained import load_trained
from tuitrain.trainer.losses import LanguageModelLoss, is_plain_product
from tuitrain.trainer.preference_loss import answer_log_probs
from tuitrain_kernels import IGNORE

CPU, BASE = torch.device("cpu"), Path("base")
ALL = [name for name in ARCHITECTURES if name != "cohere"]
NO_SDPA = {"gemma2"}
"""Attention with capped scores, which torch's fused kernel has not: transformers refuses it."""
FEW = ["llama", "gemma2", "phi", "gpt2", "qwen3_moe"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums of a few numbers: a second thread is waited for, not helped by."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fan_in_fan_out is set to False.*")  # of Conv1D, which peft then sets
        warnings.filterwarnings("ignore", message=".*(rank|alpha)_pattern keys did not match.*")  # of experts
        yield


def model_of(architecture, *, adapter=None, dtype=torch.float32, backend=None):
    """A small model in fp32; with an adapter whose matrices all matter."""
    lm = tiny_lm(architecture)
    adapted = None if adapter is None else add_adapter(lm, adapter, BASE)
    model = Pretrained(lm, compute_dtype=dtype, adapted=adapted)
    model.set_attention(backend or ("naive" if architecture in NO_SDPA else "sdpa"))
    if adapted is not None:
        stir(model)
    return model.train()


def stir(model):
    """At the start an adapter's second matrix is 0 and it does nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)


def ids_of(rows=2, length=24, seed=0):
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def targets_of(ids):
    """(tokens, targets) with unequal numbers of trained tokens."""
    tokens, targets = ids[:, :-1].contiguous(), ids[:, 1:].clone()
    targets[0, :10] = IGNORE
    targets[1, 15:] = IGNORE
    return tokens, targets


def largest(first, second):
    return float((first - second).detach().abs().max())


def lora(**settings):
    return MethodSection(kind="lora", rank=4, alpha=8.0, **settings)


# Hidden states, head, attention.


@pytest.mark.parametrize("architecture", ALL)
def test_logits_by_hidden_states_and_head_are_the_models_own(architecture):
    ids = ids_of()
    model = model_of(architecture).eval()
    with torch.no_grad():
        want = model.lm(input_ids=ids).logits
        assert largest(model(ids), want) <= 1e-6 * float(want.abs().max())
        assert want.std() > 0.3, "a model whose logits say something"


@pytest.mark.parametrize("architecture", FEW)
def test_logits_in_16_bits_are_the_models_own_under_autocast(architecture):
    ids = ids_of()
    model = model_of(architecture, dtype=torch.bfloat16).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        want = model.lm(input_ids=ids).logits.float()
    with torch.no_grad():
        got = model(ids)
    assert got.dtype == torch.float32
    assert largest(got, want) <= 0.05  # the cap of Gemma 2 is taken in fp32 here, in bf16 there


def test_a_family_that_scales_its_logits_is_not_taken_for_one_that_does_not():
    """Cohere's logits are a quarter of head times hidden states: the flight check must see it (test_flight)."""
    model = model_of("cohere").eval()
    with torch.no_grad():
        assert largest(model(ids_of()), model.lm(input_ids=ids_of()).logits) > 1


@pytest.mark.parametrize("backend", ["sdpa", "naive"])
@pytest.mark.parametrize("architecture", ALL)
def test_packed_examples_are_blind_to_each_other(architecture, backend):
    """Rows of unequal packing, one with padding, as the loader makes them: more than one row, as batches have."""
    if backend == "sdpa" and architecture in NO_SDPA:
        pytest.skip("transformers has no sdpa for it")
    model, ids = model_of(architecture, backend=backend).eval(), ids_of(2, 40)
    cuts = [[(0, 13), (13, 30), (30, 34)], [(0, 24), (24, 40)]]
    positions, documents = torch.zeros_like(ids), torch.full_like(ids, -1)
    for row, spans in enumerate(cuts):
        for number, (begin, end) in enumerate(spans):
            positions[row, begin:end] = torch.arange(end - begin)
            documents[row, begin:end] = number
    with torch.no_grad():
        packed, blind = model(ids, documents, positions), model(ids)
        for row, spans in enumerate(cuts):
            for begin, end in spans:
                alone = model(ids[row : row + 1, begin:end])[0]
                assert largest(packed[row, begin:end], alone) < 1e-4
                if begin:
                    assert largest(blind[row, begin:end], alone) > 0.3, "the test would not see a leak"


@pytest.mark.parametrize("architecture", ALL)
def test_padding_on_the_right_changes_nothing(architecture):
    model, ids = model_of(architecture).eval(), ids_of(2, 24)
    ids[0, 11:] = 0
    with torch.no_grad():
        assert largest(model(ids)[0, :11], model(ids[:1, :11])[0]) < 1e-4


def test_an_attention_that_a_family_has_not_is_named():
    with pytest.raises(EnvironmentError_, match="attention 'sdpa'"):
        model_of("gemma2", backend="sdpa")


# The loss.


@pytest.mark.parametrize("architecture", ALL)
def test_the_loss_is_the_models_own_times_its_count(architecture):
    ids = ids_of(2, 25)
    tokens, targets = targets_of(ids)
    labels = torch.cat([torch.full((2, 1), IGNORE), targets], dim=1)
    model = model_of(architecture)
    own = model.lm(input_ids=ids, labels=labels).loss * (targets != IGNORE).sum()
    own.backward()
    own = own.item()
    want = {name: parameter.grad.clone() for name, parameter in model.lm.named_parameters() if parameter.grad is not None}
    assert len(want) > 10
    for head in ("chunked", "plain"):
        model.lm.zero_grad()
        loss = LanguageModelLoss(model, head=head)(tokens, targets)
        loss.backward()
        assert loss.item() == pytest.approx(own, rel=1e-6)
        got = {name: parameter.grad for name, parameter in model.lm.named_parameters() if parameter.grad is not None}
        assert got.keys() == want.keys()
        worst = max((largest(got[name], want[name]) / float(want[name].abs().max() + 1e-6), name) for name in want)
        assert worst[0] < 1e-4, worst


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "phi"])
def test_log_probabilities_of_answers_are_those_of_the_logits(architecture):
    """A plain head, a capped one, one with a bias."""
    model = model_of(architecture)
    assert is_plain_product(model.lm_head) == (architecture != "phi")
    tokens, targets = targets_of(ids_of(2, 25))
    got = answer_log_probs(model, tokens, targets)
    each = model.lm(input_ids=tokens).logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(got, each.masked_fill(targets == IGNORE, 0).sum(1), rtol=1e-5, atol=1e-4)
    (gradient,) = torch.autograd.grad(got.sum(), [model.lm_head.weight])
    assert gradient.any()


@pytest.mark.parametrize("architecture", ["llama", "phi", "gemma2"])
def test_recomputed_layers_have_the_same_gradients(architecture):
    tokens, targets = targets_of(ids_of(2, 25))
    model = model_of(architecture, adapter=lora())
    loss = LanguageModelLoss(model, head="chunked")
    trained = [each for each in model.parameters() if each.requires_grad]
    want = torch.autograd.grad(loss(tokens, targets), trained)
    model.recompute = "full"
    got = torch.autograd.grad(loss(tokens, targets), trained)
    assert all(torch.equal(one, two) for one, two in zip(got, want, strict=True))


# Adapters.

ATTENTION = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}
GATED = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
EXPERTS = {"mlp.experts", "mlp.experts.base_layer", "mlp.gate"}
COVERED = {
    "phi3": {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"},
    "phi": {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense", "mlp.fc1", "mlp.fc2"},
    "gpt2": {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"},
    # transformers 5 keeps experts as one tensor and no Linear; peft maps all-linear onto those of these two,
    # their routers included, and not onto those of Qwen2-MoE, which stay as they are.
    "mixtral": ATTENTION | EXPERTS,
    "qwen3_moe": ATTENTION | EXPERTS,
    "qwen2_moe": ATTENTION | {f"mlp.shared_expert.{name[4:]}" for name in GATED} | {"mlp.shared_expert_gate"},
}
NOT_COVERED = {"qwen2_moe": {"mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.gate.weight"}}


@pytest.mark.parametrize("architecture", ALL)
def test_adapters_lie_beside_every_matrix_of_every_layer_and_learn(architecture):
    model = model_of(architecture, adapter=lora())
    tokens, targets = targets_of(ids_of(2, 25))
    LanguageModelLoss(model, head="chunked")(tokens, targets).backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained)
    assert all(parameter.dtype == torch.float32 for parameter in trained.values())
    ranks = {min(parameter.shape) for name, parameter in trained.items() if ".experts." not in name}
    assert ranks <= {1, 4}  # a gate of one row
    # Of 4 experts each has its own; gate and up are one matrix, for which peft takes twice the rank.
    assert {min(parameter.shape) for name, parameter in trained.items() if ".experts." in name} <= {4 * 4, 4 * 8}
    without = [name for name, parameter in trained.items() if parameter.grad is None or not parameter.grad.any()]
    assert without == []
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert all(parameter.grad is None for parameter in frozen.values())

    def place(name):
        for part in (".layers.0.", ".layers.1.", ".h.0.", ".h.1."):
            if part in name:
                return name.split(part)[1]
        return ""

    covered = {place(name).split(".lora_")[0] for name in trained}
    assert covered == COVERED.get(architecture, ATTENTION | GATED)
    left = {place(name) for name, parameter in frozen.items() if parameter.ndim >= 2 and "base_layer" not in name} - {""}
    assert left == NOT_COVERED.get(architecture, set())


@pytest.mark.parametrize("architecture", FEW)
def test_without_its_adapter_a_model_is_its_base(architecture):
    ids = ids_of()
    base, model = model_of(architecture).eval(), model_of(architecture, adapter=lora()).eval()
    with torch.no_grad():
        want = base(ids)
        assert largest(model(ids), want) > 1e-2
        with model.without_adapter():
            assert torch.equal(model(ids), want)
        assert largest(model(ids), want) > 1e-2, "and it is on again afterwards"


@pytest.mark.parametrize(("settings", "scale"), [({}, 2.0), ({"rslora": True}, 4.0), ({"alpha": "auto"}, 2.0)])
def test_an_adapter_adds_alpha_over_rank_times_its_product(settings, scale):
    method = MethodSection(**{"kind": "lora", "rank": 4, "alpha": 8.0, "targets": ("down_proj",)} | settings)
    model = model_of("llama", adapter=method).eval()
    layer = model.lm.model.layers[0].mlp.down_proj
    x = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert first.shape == (4, 128)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.base_layer(x) + scale * x @ first.T @ second.T)


def test_a_fresh_adapter_changes_nothing():
    lm = tiny_lm("llama")
    model = Pretrained(lm, compute_dtype=torch.float32, adapted=add_adapter(lm, lora(), BASE)).eval()
    with torch.no_grad():
        assert torch.equal(model(ids_of()), model_of("llama").eval()(ids_of()))


def test_targets_that_are_not_there_are_named_with_those_that_are():
    with pytest.raises(UsageError, match=r"(?s)nothing_proj.*down_proj.*q_proj"):
        add_adapter(tiny_lm("llama"), lora(targets=("nothing_proj",)), BASE)


@pytest.mark.parametrize("settings", [{}, {"rslora": True}, {"dora": True}, {"targets": ("q_proj", "v_proj")}])
def test_a_saved_adapter_comes_back_and_holds_nothing_of_its_base(tmp_path, settings):
    from safetensors.torch import load_file

    base = base_folder("llama")
    model = model_of("llama", adapter=lora(**settings)).eval()
    save_adapter(model.adapted, tmp_path, describe_base(base, quant=None, double_quant=True))
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert all("lora_" in name for name in saved)
    size = sum(parameter.numel() * 4 for parameter in model.parameters() if parameter.requires_grad)
    assert size <= (tmp_path / "adapter_model.safetensors").stat().st_size < size + 20_000
    other = model_of("llama", adapter=lora(**settings)).eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if "lora_" in name:
                parameter.mul_(1.5)
        assert largest(other(ids_of()), model(ids_of())) > 1e-3
        load_adapter_weights(other.adapted, tmp_path)
        assert torch.equal(other(ids_of()), model(ids_of()))
        # As others open it: from the disk, beside the base from the disk; and merged into it.
        loaded = load_trained(tmp_path).lm
        torch.testing.assert_close(loaded(input_ids=ids_of()).logits, model(ids_of()), rtol=1e-4, atol=1e-4)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=ids_of()).logits, model(ids_of()), rtol=1e-4, atol=1e-3)


def test_an_adapter_of_another_shape_is_not_loaded(tmp_path):
    save_adapter(model_of("llama", adapter=lora()).adapted, tmp_path, {})
    with pytest.raises(CheckpointError, match="another adapter"):
        load_adapter_weights(model_of("llama", adapter=lora(targets=("q_proj",))).adapted, tmp_path)


@pytest.mark.parametrize("architecture", ["mixtral", "phi", "gpt2", "phi3"])
def test_merged_weights_are_the_adapted_model(architecture):
    model = model_of(architecture, adapter=lora()).eval()
    with torch.no_grad():
        want = model(ids_of())
        merged = model.adapted.merge_and_unload().eval()
        torch.testing.assert_close(merged(input_ids=ids_of()).logits, want, rtol=1e-3, atol=1e-3)


# Quantised weights.

QUANTISED = {"mixtral": 8, "qwen3_moe": 8, "qwen2_moe": 16, "phi3": 8, "gpt2": 8, "phi": 12}
"""Matrices kept in few bits; 14 in others. Experts are one tensor and no Linear: bitsandbytes leaves them as they are."""


def quantised(architecture, kind, *, compute=torch.float32, tables=True):
    pytest.importorskip("bitsandbytes")
    options = LoadOptions(dtype=compute, quant=kind, compute=compute, quant_embedding=tables)
    lm = load_base(base_folder(architecture), options, CPU)
    method = MethodSection(kind="qlora", rank=4, alpha=8.0)
    model = Pretrained(lm, compute_dtype=compute, adapted=add_adapter(lm, method, base_folder(architecture)))
    model.set_attention("naive" if architecture in NO_SDPA else "sdpa")
    stir(model)
    return model


def in_few_bits(model):
    """bitsandbytes' own layers, without peft's around them, which bear the same names."""
    import bitsandbytes

    return [each for each in model.modules() if isinstance(each, (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt))]


def gradients(model):
    tokens, targets = targets_of(ids_of(2, 25))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.autograd.grad(LanguageModelLoss(model, head="chunked")(tokens, targets), trained)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("architecture", ALL)
def test_quantised_weights_learn_the_same_before_and_after_an_evaluation(architecture, kind):
    model = quantised(architecture, kind)
    assert len(in_few_bits(model)) == QUANTISED.get(architecture, 14)
    before = gradients(model)
    assert all(each.any() for each in before)
    model.eval()
    with torch.no_grad():
        model(ids_of())
    model.train()
    assert all(torch.equal(one, two) for one, two in zip(gradients(model), before, strict=True))


def test_the_trap_that_is_closed_is_one(monkeypatch):
    """Without keep_differentiable a 4-bit layer loses its gradient in evaluation, on CPUs with AVX512-BF16."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    if not bitsandbytes.nn.modules.has_avx512bf16():
        pytest.skip("this CPU has no AVX512-BF16, and nothing to repack for")
    monkeypatch.setattr("tuitrain.model.pretrained.keep_differentiable", lambda model: 0)
    model = quantised("llama", "nf4", compute=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.nn.utils.get_total_norm(gradients(model))
        model.eval()
        with torch.no_grad():
            model(ids_of(1, 24))
        model.train()
        try:
            after = torch.nn.utils.get_total_norm(gradients(model))
        except RuntimeError:
            return
    assert abs(after - before) > 0.05 * before, "mended upstream: keep_differentiable can go"


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_weights_are_few_bytes(kind):
    lm = load_base(base_folder("llama"), LoadOptions(dtype=torch.float32, quant=kind), CPU)
    matrices = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    rest = sum(parameter.numel() for parameter in tiny_lm("llama").parameters()) - matrices
    per_weight = (quantised_bytes(lm) - 4 * rest) / matrices
    assert (0.5 if kind == "nf4" else 1.0) <= per_weight < (0.8 if kind == "nf4" else 1.2)
    embedding = lm.get_input_embeddings().weight
    entries, before = embedding.numel(), quantised_bytes(lm)
    assert quantise_tables(lm)
    tables = 2 if lm.get_output_embeddings().weight is not embedding and not lm.config.tie_word_embeddings else 1
    assert before - quantised_bytes(lm) == tables * (3 * entries - 4 * len(embedding)), "4 bytes less 1, and a scale per row"


def beside(lm):
    """With an adapter that is the same at each call."""
    torch.manual_seed(5)
    model = Pretrained(lm, compute_dtype=torch.float32, adapted=add_adapter(lm, lora(), BASE))
    stir(model)
    return model


@pytest.mark.parametrize("architecture", ALL)
def test_tables_in_8_bits_are_a_model_with_rounded_tables(architecture):
    """Logits, losses and the adapter's gradients are those of the plain model whose tables were rounded."""
    few, plain = (model_of(architecture) for _ in range(2))
    before = plain.lm.get_input_embeddings().weight.detach().clone()
    assert quantise_tables(few.lm)
    round_tables(plain.lm)
    moved = largest(plain.lm.get_input_embeddings().weight.detach(), before)
    assert 0 < moved <= float(before.abs().max()) / 254 * 1.001
    few, plain = (beside(each.lm) for each in (few, plain))
    assert largest(few(ids_of()), plain(ids_of())) < 1e-5
    for head in ("chunked", "plain"):
        losses = [LanguageModelLoss(each, head=head)(*targets_of(ids_of(2, 25))) for each in (few, plain)]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
        found = [
            torch.autograd.grad(loss, [each for each in model.parameters() if each.requires_grad])
            for loss, model in zip(losses, (few, plain), strict=True)
        ]
        assert all(largest(one, two) < 1e-4 for one, two in zip(*found, strict=True))
    with torch.no_grad():
        made = few.generate(ids_of(2, 6).tolist(), max_tokens=4, temperature=0, end_ids=[], pad_id=0, seed=0)
        assert made == plain.generate(ids_of(2, 6).tolist(), max_tokens=4, temperature=0, end_ids=[], pad_id=0, seed=0)


def test_rows_in_8_bits_are_off_by_a_part_of_their_largest_entry():
    weight = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 3, 20_000)[:, None]
    weight[7] = 0
    codes, scale = quantise_rows(weight)
    back = dequantise_rows(codes, scale, torch.float32)
    assert codes.dtype == torch.int8
    assert not back[7].any()
    assert ((back - weight).abs() <= weight.abs().amax(dim=1, keepdim=True) / 253).all()
    table = Int8Table(weight)
    assert torch.equal(table.rows(torch.tensor([[3, 19_999]]))[0], back[[3, 19_999]])
    assert torch.equal(table.weight, back)
    again = dequantise_rows(*quantise_rows(back), torch.float32)
    assert torch.allclose(again, back, rtol=1e-6), "rounding twice is rounding once"


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2"])
def test_an_adapter_is_merged_into_what_it_learnt_beside(tmp_path, architecture, kind):
    """Into the dequantised weights: the same function. Beside the original ones it is another."""
    model = quantised(architecture, kind).eval()
    save_adapter(
        model.adapted, tmp_path, describe_base(base_folder(architecture), quant=kind, double_quant=True, embedding="int8")
    )
    original = model_of(architecture, adapter=lora()).eval()
    load_adapter_weights(original.adapted, tmp_path)
    with torch.no_grad():
        want = model(ids_of())
        trained = load_trained(tmp_path)
        # int8 multiplies activations in 8 bits too, so its layers are not quite a product with the dequantised weights.
        limit = 1e-3 if kind == "nf4" else 0.4
        assert largest(trained.lm(input_ids=ids_of()).logits, want) < limit
        merged = trained.lm.merge_and_unload()
        assert largest(merged(input_ids=ids_of()).logits, want) < limit
        assert not in_few_bits(merged)
        if kind == "nf4":
            assert largest(original(ids_of()), want) > 50 * limit


# Loading.


def test_a_folder_of_pickles_is_not_loaded(tmp_path):
    tiny_lm("llama").config.save_pretrained(tmp_path)
    torch.save(tiny_lm("llama").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_base(tmp_path, LoadOptions(dtype=torch.float32), CPU)


def test_a_loaded_base_is_what_was_saved_and_ready_to_train():
    lm = load_base(base_folder("qwen3"), LoadOptions(dtype=torch.float32), CPU)
    assert lm.training
    assert not lm.config.use_cache
    want = tiny_lm("qwen3").state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in lm.state_dict().items())
    assert lm.lm_head.weight is lm.model.embed_tokens.weight, "tied"
