"""The preference losses are the papers': by hand, by TRL, by finite differences, and where numbers get extreme."""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from tuitrain.trainer.preference import (
    FIELDS,
    METHODS,
    PairSums,
    averages,
    dpo_loss,
    ipo_loss,
    judged_metrics,
    kl_baseline,
    kl_sums,
    kto_loss,
    mismatched_order,
    orpo_loss,
    pair_loss,
    pair_metrics,
    simpo_loss,
)
from tuitrain.trainer.preference.orpo import CERTAIN, log_odds

PAIRED = [name for name, method in METHODS.items() if method.paired]
LN2 = math.log(2)


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def pairs(count: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> PairSums:
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.randint(3, 30, (count,), generator=generator) for _ in range(2)]
    per_token = [-torch.rand(count, generator=generator, dtype=dtype) * 2 - 0.05 for _ in range(4)]
    names = ("chosen", "rejected", "reference_chosen", "reference_rejected")
    sums = {name: mean * tokens[place % 2] for place, (name, mean) in enumerate(zip(names, per_token, strict=True))}
    return PairSums(**sums, chosen_tokens=tokens[0], rejected_tokens=tokens[1])


def swapped(sums: PairSums) -> PairSums:
    return PairSums(
        chosen=sums.rejected,
        rejected=sums.chosen,
        reference_chosen=sums.reference_rejected,
        reference_rejected=sums.reference_chosen,
        chosen_tokens=sums.rejected_tokens,
        rejected_tokens=sums.chosen_tokens,
    )


# ---- by hand


def test_dpo_by_hand() -> None:
    """Gains 2 and -1: z = 0.5 * 3."""
    result = dpo_loss(numbers(-8), numbers(-13), numbers(-10), numbers(-12), beta=0.5)
    assert result.losses.item() == pytest.approx(-math.log(sigmoid(1.5)), rel=1e-6)
    assert (result.chosen_rewards.item(), result.rejected_rewards.item()) == (1.0, -0.5)


def test_conservative_dpo_by_hand() -> None:
    result = dpo_loss(numbers(-8), numbers(-13), numbers(-10), numbers(-12), beta=0.5, label_smoothing=0.2)
    assert result.losses.item() == pytest.approx(-0.8 * math.log(sigmoid(1.5)) - 0.2 * math.log(sigmoid(-1.5)), rel=1e-6)


def test_conservative_dpo_is_content_where_its_labels_are() -> None:
    """The minimum lies where s(z) = 1 - e: there the gradient is 0, beyond it the loss pulls back."""
    chosen = numbers(math.log(0.9 / 0.1) / 0.5).requires_grad_()
    zero = numbers(0)
    (grad,) = torch.autograd.grad(dpo_loss(chosen, zero, zero, zero, beta=0.5, label_smoothing=0.1).losses.sum(), chosen)
    assert abs(grad.item()) < 1e-7


def test_ipo_by_hand() -> None:
    """Gains 2 over 4 tokens and -1 over 2: h = 1, the aim 1 / (2 * 0.1) = 5; as printed in the paper h = 3."""
    arguments = numbers(-8), numbers(-13), numbers(-10), numbers(-12)
    result = ipo_loss(*arguments, torch.tensor([4]), torch.tensor([2]), beta=0.1)
    assert result.losses.item() == pytest.approx(16, rel=1e-6)
    assert result.chosen_rewards.item() == pytest.approx(0.05)
    assert ipo_loss(*arguments, None, None, beta=0.1).losses.item() == pytest.approx(4, rel=1e-6)


def test_simpo_by_hand() -> None:
    """Means -2 and -3, margin 1: z = 2 * 1 - 1."""
    result = simpo_loss(numbers(-8), numbers(-9), torch.tensor([4]), torch.tensor([3]), beta=2.0, gamma=1.0)
    assert result.losses.item() == pytest.approx(-math.log(sigmoid(1)), rel=1e-6)
    assert (result.chosen_rewards.item(), result.rejected_rewards.item()) == (-4.0, -6.0)


def test_orpo_by_hand() -> None:
    """P = 1/2 and 1/4: odds 1 and 1/3, their ratio 3, s(log 3) = 3/4."""
    chosen, rejected = numbers(-4 * LN2), numbers(-3 * math.log(4))
    result = orpo_loss(chosen, rejected, torch.tensor([4]), torch.tensor([3]), weight=0.1)
    assert result.losses.item() == pytest.approx(LN2 - 0.1 * math.log(0.75), rel=1e-6)


def test_kto_by_hand() -> None:
    """Gains 2 and -1 against z0 = 0.5."""
    liked = torch.tensor([True, False])
    result = kto_loss(
        numbers(-8, -13), numbers(-10, -12), liked, numbers(0.5)[0], beta=0.5, liked_weight=2.0, disliked_weight=3.0
    )
    assert result.losses.tolist() == pytest.approx([2 * (1 - sigmoid(0.75)), 3 * (1 - sigmoid(0.75))], rel=1e-6)
    assert result.rewards.tolist() == [1.0, -0.5]


def test_the_baseline_is_the_mean_gain_of_mismatched_answers() -> None:
    assert mismatched_order(4).tolist() == [1, 2, 3, 0]
    assert mismatched_order(1).tolist() == []  # its own answer would be no mismatch
    policy, reference = numbers(-3, -4, -5).requires_grad_(), numbers(-4, -6, -5)
    assert kl_baseline(kl_sums(policy, reference)).item() == 1.0
    assert not kl_baseline(kl_sums(policy, reference)).requires_grad
    assert kl_baseline(kl_sums(reference, policy)).item() == 0.0  # a divergence is never negative
    assert kl_baseline(kl_sums(numbers(), numbers())).item() == 0.0


def test_the_baseline_is_clamped_after_the_processes_are_summed() -> None:
    one, two = kl_sums(numbers(-3), numbers(-1)), kl_sums(numbers(-1, -1), numbers(-3, -3))
    assert kl_baseline(one + two).item() == pytest.approx(2 / 3)


def test_the_baseline_has_no_gradient() -> None:
    baseline = torch.tensor(0.5, requires_grad=True)
    policy = numbers(-8, -13).requires_grad_()
    kto_loss(policy, numbers(-10, -12), torch.tensor([True, False]), baseline, beta=0.5).losses.sum().backward()
    assert baseline.grad is None
    assert policy.grad is not None
    assert policy.grad[0] < 0 < policy.grad[1]  # a liked answer is made likelier, a disliked one less so


# ---- by TRL


@pytest.fixture(scope="module")
def trl():
    """TRL's trainers, as functions of a stand-in for themselves: their arithmetic, without a model."""
    pytest.importorskip("trl", reason="TRL is a reference to compare with, no dependency")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.cpo.cpo_trainer import CPOTrainer
        from trl.experimental.orpo.orpo_trainer import ORPOTrainer
        from trl.trainer.dpo_trainer import DPOTrainer
        from trl.trainer.kto_trainer import KTOTrainer
    return SimpleNamespace(CPO=CPOTrainer, ORPO=ORPOTrainer, DPO=DPOTrainer, KTO=KTOTrainer)


def stand_in(**settings) -> SimpleNamespace:
    same = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
    return SimpleNamespace(
        accelerator=same,
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_weights=[1.0],
        use_weighting=False,
        label_smoothing=0.0,
        alpha=0.0,
        calculate_KL=True,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )


def as_outputs(sums: torch.Tensor, tokens: torch.Tensor) -> tuple[dict[str, torch.Tensor], SimpleNamespace]:
    """A batch of a prompt of one token and answers of `tokens`, and outputs whose log-probabilities sum to `sums`."""
    places = torch.arange(int(tokens.max()))
    mask = (places < tokens[:, None]).long()
    log_probs = sums[:, None] / tokens[:, None] * mask
    completion = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)
    batch = {"input_ids": torch.zeros_like(completion), "attention_mask": torch.ones_like(completion)}
    outputs = SimpleNamespace(log_probs=log_probs, entropy=log_probs, mean_logits=log_probs, is_top1=mask.bool())
    return {**batch, "completion_mask": completion}, outputs


@pytest.mark.parametrize(("name", "theirs", "smoothing"), [("dpo", "sigmoid", 0.0), ("dpo", "aot", 0.1), ("ipo", "ipo", 0.0)])
def test_equal_to_trl_with_a_reference(trl, name: str, theirs: str, smoothing: float) -> None:
    """TRL has no loss by the name of conservative DPO; `aot` is it where a batch is one pair, whose sorting changes nothing."""
    for seed in range(5):
        sums = pairs(1, seed)
        batch, outputs = as_outputs(
            torch.cat([sums.chosen, sums.rejected]), torch.cat([sums.chosen_tokens, sums.rejected_tokens])
        )
        batch |= {"ref_chosen_logps": sums.reference_chosen, "ref_rejected_logps": sums.reference_rejected}
        trainer = stand_in(loss_types=[theirs], beta=0.3)
        trainer.label_smoothing = smoothing
        want = trl.DPO._compute_loss(trainer, lambda outputs=outputs, **_: outputs, batch, False)
        got = pair_loss(name, sums, beta=0.3, label_smoothing=smoothing)
        assert got.losses.item() == pytest.approx(want.item(), rel=1e-5)
        if name == "dpo":
            shown = trainer._metrics["train"]
            assert got.chosen_rewards.item() == pytest.approx(shown["rewards/chosen"][0], rel=1e-5)
            assert got.rejected_rewards.item() == pytest.approx(shown["rewards/rejected"][0], rel=1e-5)


def test_simpo_equal_to_trl(trl) -> None:
    sums = pairs(8)
    got = pair_loss("simpo", sums, beta=2.0, gamma=1.0)
    trainer = stand_in(loss_type="simpo", beta=2.0, simpo_gamma=1.0)
    want = trl.CPO.cpo_loss(trainer, sums.chosen / sums.chosen_tokens, sums.rejected / sums.rejected_tokens)
    for ours, theirs in zip((got.losses, got.chosen_rewards, got.rejected_rewards), want, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_orpo_equal_to_trl(trl) -> None:
    sums = pairs(8)
    got = pair_loss("orpo", sums, beta=0.1)
    chosen = sums.chosen / sums.chosen_tokens
    odds, chosen_rewards, rejected_rewards, *_ = trl.ORPO.odds_ratio_loss(
        stand_in(beta=0.1), chosen, sums.rejected / sums.rejected_tokens
    )
    torch.testing.assert_close(got.losses, -chosen - odds)
    torch.testing.assert_close(got.chosen_rewards, chosen_rewards)
    torch.testing.assert_close(got.rejected_rewards, rejected_rewards)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_kto_equal_to_trl(trl, sign: float) -> None:
    sums = pairs(6)
    liked = torch.tensor([True, False, False, True, False, True])
    mismatched, reference = sign * numbers(1, 2, 3, -1, -2, 4) - 20, numbers(*[-20.0] * 6)
    batch, outputs = as_outputs(sums.chosen, sums.chosen_tokens)
    batch |= {"label": liked, "ref_logps": sums.reference_chosen, "ref_KL_logps": reference}
    trainer = stand_in(loss_type="kto", beta=0.2, desirable_weight=1.5, undesirable_weight=0.7)
    trainer._compute_kl_logps = lambda model, batch: mismatched
    want = trl.KTO._compute_loss(trainer, lambda **_: outputs, batch, False)
    baseline = kl_baseline(kl_sums(mismatched, reference))
    got = kto_loss(sums.chosen, sums.reference_chosen, liked, baseline, beta=0.2, liked_weight=1.5, disliked_weight=0.7)
    assert baseline.item() == pytest.approx(trainer._metrics["train"]["kl"][0], abs=1e-6)
    assert got.losses.mean().item() == pytest.approx(want.item(), rel=1e-5)


# ---- gradients


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_the_finite_differences(name: str, smoothing: float) -> None:
    sums = pairs(3, dtype=torch.float64)

    def losses(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        given = PairSums(
            chosen=chosen,
            rejected=rejected,
            reference_chosen=sums.reference_chosen,
            reference_rejected=sums.reference_rejected,
            chosen_tokens=sums.chosen_tokens,
            rejected_tokens=sums.rejected_tokens,
        )
        return pair_loss(name, given, beta=METHODS[name].beta, gamma=0.5, label_smoothing=smoothing).losses

    assert torch.autograd.gradcheck(losses, (sums.chosen.requires_grad_(), sums.rejected.requires_grad_()))


def test_gradients_of_kto_are_the_finite_differences() -> None:
    sums, liked = pairs(3, dtype=torch.float64), torch.tensor([True, False, True])
    baseline = torch.tensor(0.7, dtype=torch.float64)

    def losses(policy: torch.Tensor) -> torch.Tensor:
        return kto_loss(policy, sums.reference_chosen, liked, baseline, beta=0.1, disliked_weight=2.0).losses

    assert torch.autograd.gradcheck(losses, (sums.chosen.requires_grad_(),))


# ---- what must hold


def test_what_the_table_knows_is_what_the_losses_do() -> None:
    assert set(METHODS) == {"dpo", "ipo", "simpo", "orpo", "kto"}
    for name in PAIRED:
        sums, method = pairs(), METHODS[name]
        without_reference = PairSums(
            chosen=sums.chosen, rejected=sums.rejected, chosen_tokens=sums.chosen_tokens, rejected_tokens=sums.rejected_tokens
        )
        if method.needs_reference:
            with pytest.raises(AssertionError, match="reference"):
                pair_loss(name, without_reference, beta=method.beta)
        else:
            pair_loss(name, without_reference, beta=method.beta)
        without_tokens = PairSums(
            chosen=sums.chosen,
            rejected=sums.rejected,
            reference_chosen=sums.reference_chosen,
            reference_rejected=sums.reference_rejected,
        )
        if method.length_normalised:
            with pytest.raises(AssertionError, match="tokens"):
                pair_loss(name, without_tokens, beta=method.beta)
        else:
            pair_loss(name, without_tokens, beta=method.beta)
    assert METHODS["simpo"].gamma(2.0) == 1.0
    with pytest.raises(AssertionError, match="no loss of pairs"):
        pair_loss("kto", pairs(), beta=0.1)


@pytest.mark.parametrize("name", PAIRED)
def test_losses_are_fp32_and_rewards_detached(name: str) -> None:
    sums = pairs()
    half = PairSums(
        chosen=sums.chosen.bfloat16().requires_grad_(), rejected=sums.rejected.bfloat16(),
        reference_chosen=sums.reference_chosen.bfloat16(), reference_rejected=sums.reference_rejected.bfloat16(),
        chosen_tokens=sums.chosen_tokens, rejected_tokens=sums.rejected_tokens,
    )  # fmt: skip
    result = pair_loss(name, half, beta=0.1)
    assert result.losses.dtype == result.chosen_rewards.dtype == torch.float32
    assert result.losses.requires_grad
    assert not result.chosen_rewards.requires_grad


@pytest.mark.parametrize("name", ["dpo", "simpo"])
def test_equal_answers_cost_ln_2(name: str) -> None:
    same, tokens = numbers(-40, -7), torch.tensor([10, 3])
    sums = PairSums(
        chosen=same, rejected=same, reference_chosen=same, reference_rejected=same, chosen_tokens=tokens, rejected_tokens=tokens
    )
    assert pair_loss(name, sums, beta=0.1).losses.tolist() == pytest.approx([LN2, LN2])
    assert pair_loss(name, sums, beta=0.1, label_smoothing=0.3).losses.tolist() == pytest.approx([LN2, LN2])


def test_equal_answers_cost_orpo_the_usual_loss_and_ln_2_of_the_odds() -> None:
    same, tokens = numbers(-40), torch.tensor([10])
    assert orpo_loss(same, same, tokens, tokens, weight=0.1).losses.item() == pytest.approx(4 + 0.1 * LN2)


def test_where_beta_vanishes_nothing_is_learned() -> None:
    sums = pairs()
    chosen = sums.chosen.requires_grad_()
    result = dpo_loss(chosen, sums.rejected, sums.reference_chosen, sums.reference_rejected, beta=1e-12)
    assert result.losses.tolist() == pytest.approx([LN2] * 4)
    (grad,) = torch.autograd.grad(result.losses.sum(), chosen)
    assert grad.abs().max() < 1e-11


def test_swapping_a_pair_mirrors_the_loss() -> None:
    sums = pairs()
    for name in ("dpo", "simpo"):
        one, other = pair_loss(name, sums, beta=0.3), pair_loss(name, swapped(sums), beta=0.3)
        z = one.chosen_rewards - one.rejected_rewards
        torch.testing.assert_close(other.losses - one.losses, z)  # -log s(-z) + log s(z) = z
        torch.testing.assert_close(one.chosen_rewards, other.rejected_rewards)
    one, other = pair_loss("ipo", sums, beta=0.3), pair_loss("ipo", swapped(sums), beta=0.3)
    h = (one.chosen_rewards - one.rejected_rewards) / 0.3
    torch.testing.assert_close(other.losses - one.losses, 2 * h / 0.3)
    smoothed = [pair_loss("dpo", each, beta=0.3, label_smoothing=0.5).losses for each in (sums, swapped(sums))]
    torch.testing.assert_close(*smoothed)  # at a half, labels say nothing


def test_what_both_answers_share_does_not_matter_to_dpo() -> None:
    sums = pairs()
    shift = numbers(3, -2, 11, 0.5)
    moved = dpo_loss(sums.chosen + shift, sums.rejected, sums.reference_chosen + shift, sums.reference_rejected, beta=0.1)
    torch.testing.assert_close(moved.losses, pair_loss("dpo", sums, beta=0.1).losses)


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_extreme_log_ratios_do_not_overflow(name: str, size: float) -> None:
    chosen, rejected = numbers(-size, 0.0, -size).requires_grad_(), numbers(0.0, -size, -size).requires_grad_()
    sums = PairSums(
        chosen=chosen, rejected=rejected, reference_chosen=numbers(0, -size, 0), reference_rejected=numbers(-size, 0, 0),
        chosen_tokens=torch.tensor([1, 1, 9]), rejected_tokens=torch.tensor([1, 1, 9]),
    )  # fmt: skip
    losses = pair_loss(name, sums, beta=0.5, gamma=1.0).losses
    assert torch.isfinite(losses).all(), losses
    for grad in torch.autograd.grad(losses.sum(), (chosen, rejected)):
        assert torch.isfinite(grad).all(), grad


def test_extreme_gains_do_not_overflow_kto() -> None:
    policy = numbers(-1e6, 0, -1e6, 0).requires_grad_()
    liked = torch.tensor([True, True, False, False])
    losses = kto_loss(policy, numbers(0, -1e6, 0, -1e6), liked, torch.tensor(0.0), beta=1.0).losses
    assert losses.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert torch.isfinite(torch.autograd.grad(losses.sum(), policy)[0]).all()


def test_log_odds_keep_their_digits_and_their_gradient() -> None:
    """Against 64 bits, from P = e^-80 to P = 1 - 2^-23; TRL's choice of two branches has a NaN gradient near 1."""
    log_p = -torch.logspace(-6.9, math.log10(80), 200).requires_grad_()
    exact = log_p.detach().double()
    exact = exact - torch.log(-torch.expm1(exact))
    torch.testing.assert_close(log_odds(log_p).double(), exact, rtol=1e-6, atol=1e-6)
    edge = numbers(-1e-7, -1e-9, 0.0, CERTAIN, -200.0).requires_grad_()
    values = log_odds(edge)
    assert torch.isfinite(values).all()
    assert values[4].item() == -200.0
    assert torch.isfinite(torch.autograd.grad(values.sum(), edge)[0]).all()


@pytest.mark.parametrize("name", PAIRED)
def test_an_answer_of_which_nothing_is_left_gets_no_gradient(name: str) -> None:
    """Cut off to no tokens its sums are 0; the other answer goes on learning from finite numbers."""
    chosen, rejected = numbers(0.0).requires_grad_(), numbers(-12.0).requires_grad_()
    sums = PairSums(
        chosen=chosen * 0, rejected=rejected, reference_chosen=numbers(0.0), reference_rejected=numbers(-11.0),
        chosen_tokens=torch.tensor([0]), rejected_tokens=torch.tensor([6]),
    )  # fmt: skip
    losses = pair_loss(name, sums, beta=METHODS[name].beta).losses
    assert torch.isfinite(losses).all()
    grads = torch.autograd.grad(losses.sum(), (chosen, rejected))
    assert grads[0].item() == 0
    assert torch.isfinite(grads[1]).all()


@pytest.mark.parametrize("name", PAIRED)
def test_every_loss_raises_the_chosen_and_lowers_the_rejected(name: str) -> None:
    sums = pairs(16)
    chosen, rejected = sums.chosen.requires_grad_(), sums.rejected.requires_grad_()
    method = METHODS[name]
    losses = pair_loss(name, sums, beta=method.beta, gamma=method.gamma(method.beta)).losses
    of_chosen, of_rejected = torch.autograd.grad(losses.sum(), (chosen, rejected))
    assert (of_chosen < 0).all()
    assert (of_rejected > 0).all()


# ---- what is shown


def test_metrics_by_hand() -> None:
    result = dpo_loss(numbers(-8, -8, -9), numbers(-13, -9, -9), numbers(-10, -9, -9), numbers(-12, -11, -9), beta=1.0)
    sums = pair_metrics(result).tolist()
    assert dict(zip(FIELDS, sums, strict=True)) == {
        "chosen_reward_sum": 3, "chosen": 3, "rejected_reward_sum": 1, "rejected": 3, "right_sum": 1.5, "decided": 3,
    }  # fmt: skip
    assert averages(sums) == pytest.approx(
        {"reward_chosen": 1, "reward_rejected": 1 / 3, "reward_margin": 2 / 3, "accuracy": 0.5}
    )


def test_a_model_that_is_its_own_reference_guesses() -> None:
    same = numbers(-8, -9)
    assert averages(pair_metrics(dpo_loss(same, same - 1, same, same - 1, beta=0.1)).tolist())["accuracy"] == 0.5


def test_metrics_of_judged_answers_by_hand() -> None:
    liked = torch.tensor([True, True, False])
    result = kto_loss(numbers(-8, -9, -10), numbers(-10, -9, -9), liked, torch.tensor(0.5), beta=2.0)
    sums = judged_metrics(result).tolist()
    assert sums == [4, 2, -2, 1, 2, 3]  # rewards 4, 0 and -2 against 1: the second liked answer is below
    assert averages(sums) == pytest.approx({"reward_chosen": 2, "reward_rejected": -2, "reward_margin": 4, "accuracy": 2 / 3})


def test_metrics_of_what_is_not_there_are_left_out() -> None:
    only_liked = kto_loss(numbers(-8), numbers(-9), torch.tensor([True]), torch.tensor(0.0), beta=1.0)
    assert set(averages(judged_metrics(only_liked).tolist())) == {"reward_chosen", "accuracy"}
    assert averages([0.0] * len(FIELDS)) == {}


def test_metrics_do_not_depend_on_the_split_into_micro_batches() -> None:
    sums, liked = pairs(12), torch.rand(12, generator=torch.Generator().manual_seed(1)) < 0.3

    def of(part: slice) -> torch.Tensor:
        baseline = torch.tensor(0.3)
        return judged_metrics(kto_loss(sums.chosen[part], sums.reference_chosen[part], liked[part], baseline, beta=0.1))

    whole = averages(of(slice(None)).tolist())
    split = averages((of(slice(0, 1)) + of(slice(1, 8)) + of(slice(8, 12))).tolist())
    assert split == pytest.approx(whole, rel=1e-5)
