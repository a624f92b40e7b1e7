"""Which way memory moves, and that nothing is lost in cutting: properties over shapes, meshes and adapters."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuitrain_planners import (
    Adapter,
    Experts,
    LatentAttention,
    Mesh,
    ModelShape,
    PlanError,
    PlanRequest,
    by_depth,
    count_parameters,
    framework,
    optimizer,
    plan,
    recipe,
    step_memory,
)
from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.phases import StepMemory
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.memory.states import optimizer_bytes, trained, weight_bytes
from tuitrain_planners.optimizers import OPTIMIZERS
from tuitrain_planners.quantity import FUNCTIONS, Quantity

SEQ_LEN = 512
DENSE = ("llama", "qwen3", "nanochat", "gpt2", "gemma2", "phi", "gpt-neox", "falcon")
LATENT = LatentAttention(kv_rank=64, q_rank=96, nope_head_dim=32, rope_head_dim=32, value_head_dim=32)


def mixture(depth: int) -> ModelShape:
    parts = Experts(num=8, per_token=2, ffn_size=256, shared_ffn_size=256, first_dense_layers=1)
    return replace(by_depth(depth, 4096, "llama"), architecture="qwen2-moe", qkv_bias=True, experts=parts)


def latent(depth: int) -> ModelShape:
    parts = Experts(num=8, per_token=2, ffn_size=256, shared_ffn_size=256, first_dense_layers=1, router_bias=True)
    shape = by_depth(depth, 4096, "llama")
    heads = {"num_kv_heads": shape.num_heads, "head_dim": 64}
    return replace(shape, architecture="deepseek-v3", experts=parts, latent=LATENT, **heads)


depths = st.sampled_from([4, 8, 12])
SHAPES = st.one_of(
    st.builds(by_depth, depths, st.sampled_from([4096, 50_304]), st.sampled_from(DENSE)),
    st.builds(mixture, depths),
    st.builds(latent, depths),
)
ADAPTERS = st.builds(
    Adapter,
    rank=st.integers(1, 32),
    targets=st.sampled_from([("q", "v"), ("q", "k", "v", "o", "gate", "up", "down"), ("up",), ("q", "head")]),
    dropout=st.booleans(),
    weight_bytes=st.sampled_from([2, 4]),
    base=st.sampled_from(["16bit", "nf4", "int4-gptq"]),
    rest_in_fp32=st.booleans(),
)
FRAMEWORK_NAMES = st.sampled_from(["tuitrain", "fsdp2-hf", "hf-trainer", "litgpt", "torchtune", "megatron", "deepspeed"])


def step(shape: ModelShape, mesh: Mesh | None = None, *, software: str = "fsdp2-hf", zero: int = 0, **kw: object) -> StepMemory:
    mesh = mesh or Mesh()
    mesh.check(shape, SEQ_LEN)
    sharding = Sharding(
        framework=framework(software), stage=zero, ranks=mesh.state_ranks, expert_ranks=max(1, mesh.state_ranks // mesh.ep)
    )
    choices: dict[str, object] = {
        "seq_len": SEQ_LEN, "micro_batch": 4, "micro_batches": 8, "device": "gpu", "precision": recipe("bf16-mixed"),
        "optimizer": optimizer("adamw"), "sharding": sharding, "mesh": mesh,
    }  # fmt: skip
    return step_memory(shape, **{**choices, **kw})  # type: ignore[arg-type]


def states(memory: StepMemory) -> float:
    """Weights, gradients and optimizer at the step, temporaries of the step among them; not the bucket new rows come in."""
    phase = next(each for each in memory.phases if each.name == "optimizer")
    bucket = sum(each.value for each in phase.term("optimizer").terms if each.name == "new rows being gathered")
    return sum(phase.term(group).value for group in ("weights", "gradients", "optimizer")) - bucket


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, software=FRAMEWORK_NAMES, recompute=st.sampled_from(["none", "selective", "full"]), zero=st.integers(0, 3))
def test_tensor_parallelism_never_needs_more(shape: ModelShape, software: str, recompute: str, zero: int) -> None:
    try:
        one, two = (
            step(shape, Mesh(tp=tp, dp=2), software=software, recompute=recompute, zero=zero).peak.value for tp in (1, 2)
        )
    except PlanError:
        assume(False)
    assert two <= one


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, pp=st.sampled_from([2, 4]), software=FRAMEWORK_NAMES)
def test_a_stage_of_a_pipeline_never_holds_more_states(shape: ModelShape, pp: int, software: str) -> None:
    whole = states(step(shape, software=software))
    assert states(step(shape, Mesh(pp=pp), software=software)) <= whole


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, software=FRAMEWORK_NAMES, zero=st.integers(0, 3))
def test_cutting_the_sequence_never_needs_more(shape: ModelShape, software: str, zero: int) -> None:
    """The same number of devices, as data or as context ranks: the latter hold half the tokens each."""
    data = step(shape, Mesh(dp=4), software=software, zero=zero).peak.value
    context = step(shape, Mesh(dp=2, cp=2), software=software, zero=zero).peak.value
    assert context <= data


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    software=FRAMEWORK_NAMES,
    zero=st.integers(1, 3),
    ranks=st.sampled_from([2, 4, 8]),
    moved=st.sampled_from(sorted(OPTIMIZERS)),
)
def test_more_ranks_never_need_more(shape: ModelShape, software: str, zero: int, ranks: int, moved: str) -> None:
    few, many = (
        step(shape, Mesh(dp=dp), software=software, zero=zero, optimizer=optimizer(moved)).peak.value
        for dp in (ranks, 2 * ranks)
    )
    assert many <= few


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, software=FRAMEWORK_NAMES, ranks=st.sampled_from([2, 8]))
def test_a_higher_stage_keeps_less_at_rest(shape: ModelShape, software: str, ranks: int) -> None:
    kept = [states(step(shape, Mesh(dp=ranks), software=software, zero=zero)) for zero in range(4)]
    assert kept == sorted(kept, reverse=True)


@settings(max_examples=80, deadline=None)
@given(shape=SHAPES, tp=st.sampled_from([1, 2, 4]), pp=st.sampled_from([1, 2, 4]), ep=st.sampled_from([1, 2, 8]))
def test_all_devices_together_hold_at_least_the_model(shape: ModelShape, tp: int, pp: int, ep: int) -> None:
    mesh = Mesh(tp=tp, pp=pp, ep=ep if shape.experts else 1, dp=8)
    try:
        mesh.check(shape, SEQ_LEN)
    except PlanError:
        assume(False)
    first, last = (held(shape, mesh, stage) for stage in (("first", "last") if pp > 1 else ("only", "only")))
    # stages between the two have the layers of one of them and neither table
    inner = max(0, pp - 2) * max(each.hidden + each.vectors for each in (first, last))
    ends = sum(each.hidden + each.vectors + each.outer for each in ((first, last) if pp > 1 else (first,)))
    whole = count_parameters(shape).value
    experts = held(shape).experts
    assert tp * (ends + inner) >= whole - experts
    routed = max(first.experts, last.experts) * pp
    assert tp * mesh.ep * routed >= experts


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, adapter=ADAPTERS, software=FRAMEWORK_NAMES, precision=st.sampled_from(["bf16-mixed", "bf16-pure"]))
def test_an_adapter_needs_fewer_states_than_full_training(
    shape: ModelShape, adapter: Adapter, software: str, precision: str
) -> None:
    full, adapted = (step(shape, software=software, precision=recipe(precision), adapter=each) for each in (None, adapter))
    moved = full.phases[5].term("optimizer").value
    assert adapted.phases[5].term("optimizer").value < moved
    if adapter.base == "16bit" and not adapter.rest_in_fp32:
        assert states(adapted) < states(full)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    adapter=st.none() | ADAPTERS,
    software=FRAMEWORK_NAMES,
    batch=st.integers(1, 8),
    loss=st.sampled_from(["plain", "bf16", "split", "chunked-logits", "chunked", "fused"]),
    naive=st.booleans(),
)
def test_memory_grows_with_the_micro_batch(
    shape: ModelShape, adapter: Adapter | None, software: str, batch: int, loss: str, naive: bool
) -> None:
    less, more = (
        step(
            shape, software=software, micro_batch=each, adapter=adapter, loss=loss, attention="naive" if naive else "flash"
        ).peak.value
        for each in (batch, batch + 1)
    )
    assert less <= more


def evaluate(quantity: Quantity) -> int:
    """Evaluates every formula below a number; returns how many there were."""
    found = 0
    for each in quantity.walk():
        if each.formula:
            values = {key: value.value if isinstance(value, Quantity) else value for key, value in each.inputs.items()}
            value = eval(each.formula, {"__builtins__": {}}, FUNCTIONS | values)
            assert value == pytest.approx(each.value, rel=1e-9), f"{each.name}: {each.formula}"
            found += 1
        elif each.terms:
            assert sum(term.value for term in each.terms) == pytest.approx(each.value, rel=1e-9), each.name
    return found


@settings(max_examples=120, deadline=None)
@given(
    shape=SHAPES,
    adapter=st.none() | ADAPTERS,
    software=FRAMEWORK_NAMES,
    mesh=st.sampled_from(
        [Mesh(), Mesh(dp=4), Mesh(tp=2, dp=2), Mesh(pp=2, vp=2, schedule="interleaved"), Mesh(pp=4, cp=2, dp=2)]
    ),
    zero=st.integers(0, 3),
    recompute=st.sampled_from(["none", "selective", "full"]),
    moved=st.sampled_from(sorted(OPTIMIZERS)),
    loss=st.sampled_from(["plain", "split", "chunked-logits", "chunked", "fused"]),
    naive=st.booleans(),
)
def test_every_formula_computes_its_value(
    shape: ModelShape,
    adapter: Adapter | None,
    software: str,
    mesh: Mesh,
    zero: int,
    recompute: str,
    moved: str,
    loss: str,
    naive: bool,
) -> None:
    try:
        memory = step(
            shape, mesh, software=software, zero=zero, adapter=adapter, recompute=recompute, optimizer=optimizer(moved),
            loss=loss, attention="naive" if naive else "flash",
        )  # fmt: skip
    except PlanError:
        assume(False)
    assert evaluate(memory.peak) >= 1
    assert sum(evaluate(phase) for phase in memory.phases) > 30


@pytest.mark.parametrize("architecture", ["mixture", "latent"])
def test_experts_on_more_devices_hold_fewer_of_them_and_no_fewer_activations(architecture: str) -> None:
    shape = mixture(4) if architecture == "mixture" else latent(4)
    together, apart = (step(shape, Mesh(dp=8, ep=ep)) for ep in (1, 8))
    assert states(apart) < states(together)
    assert apart.phases[0].term("activations").value == together.phases[0].term("activations").value


def test_states_that_do_not_divide_are_rounded_up(gpu_request: PlanRequest) -> None:
    """Seven devices share GPT-2: none holds less than a seventh, all together at most seven bytes a state more."""
    shape = gpu_request.shape
    whole = optimizer_bytes(trained(held(shape), None), recipe("bf16-mixed"), optimizer("adamw"))
    shared = Sharding(framework=framework("fsdp2-hf"), stage=3, ranks=7)
    assert 0 <= 7 * shared.optimizer(whole).value - whole.whole.value < 7
    weights = weight_bytes(held(shape), recipe("bf16-mixed"), copies=False)
    assert 0 <= 7 * shared.weights(weights).value - weights.whole.value < 7
    seven = replace(gpu_request, mesh=Mesh(dp=7), zero=3, framework="fsdp2-hf")
    assert plan(seven).memory.step.peak.value < plan(replace(seven, mesh=Mesh(dp=1))).memory.step.peak.value
