"""The best model for a time budget: ranked by loss, rejects explained, nothing guessed."""

from dataclasses import replace

import pytest

from tuitrain_planners import LossLaw, Mesh, PlanError, PlanRequest, depth_candidates, fit_to_time, measured, tokens_for

BYTES_LAW = LossLaw(
    name="mine",
    e=0.55,
    a=60,
    b=200,
    alpha=0.35,
    beta=0.35,
    unit="bits/byte",
    source="measured: here",
    corpus="c",
    data_unit="bytes",
)


@pytest.fixture
def question(cpu_request: PlanRequest) -> PlanRequest:
    return replace(cpu_request, law=BYTES_LAW, bytes_per_token=3.0, recompute="none")


def test_more_time_makes_the_best_model_larger(question: PlanRequest) -> None:
    best = [
        fit_to_time(seconds, question, unique_tokens_by_vocab={8192: 1e9}, corpus_bytes=3e9).best.plan
        for seconds in (120, 1800, 6 * 3600)
    ]
    assert best[0].parameters.value < best[1].parameters.value < best[2].parameters.value
    assert best[0].loss.value > best[1].loss.value > best[2].loss.value


def test_candidates_come_best_first_with_reasons(question: PlanRequest) -> None:
    budget = fit_to_time(1800, question, unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8)
    losses = [each.plan.loss.value for each in budget.candidates]
    assert losses == sorted(losses)
    assert budget.best.reason.startswith(f"{budget.best.name} wins: {losses[0]:.4f} bits/byte")
    smaller = next(each for each in budget.candidates if each.plan.parameters.value < budget.best.plan.parameters.value)
    larger = next(each for each in budget.candidates if each.plan.parameters.value > budget.best.plan.parameters.value)
    assert "parameters are too few" in smaller.reason
    assert "only" in larger.reason
    assert f"against {losses[0]:.4f}" in larger.reason
    assert "per parameter" in larger.reason


def test_every_candidate_spends_the_time_and_no_more(question: PlanRequest) -> None:
    shapes = depth_candidates([1, 3], [8192])
    budget = fit_to_time(900, question, unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8, candidates=shapes)
    assert len(budget.candidates) == 2
    for each in budget.candidates:
        spent, step = each.plan.throughput.duration_s.mid.value, each.plan.throughput.step_s.value
        assert 900 - step < spent <= 900 * (1 + 1e-9)
        assert each.plan.tokens.value == each.plan.steps * each.plan.tokens_per_step.value


def test_little_data_favours_fewer_passes(question: PlanRequest) -> None:
    plenty = fit_to_time(7200, question, unique_tokens_by_vocab={8192: 1e10}, corpus_bytes=3e10).best
    scarce = fit_to_time(7200, question, unique_tokens_by_vocab={8192: 1e6}, corpus_bytes=3e6).best
    assert scarce.plan.tokens.value < plenty.plan.tokens.value
    assert scarce.epochs > 1
    assert scarce.plan.loss.value > plenty.plan.loss.value


def test_a_law_in_bytes_compares_vocabularies(question: PlanRequest) -> None:
    unique = {2048: 1.5e8, 8192: 1e8}
    budget = fit_to_time(1800, question, unique_tokens_by_vocab=unique, corpus_bytes=3e8)
    assert {each.plan.request.shape.vocab_size for each in budget.candidates} == set(unique)
    assert len({each.name for each in budget.candidates}) == len(budget.candidates)
    worse = fit_to_time(1800, question, unique_tokens_by_vocab={2048: 3e8, 8192: 1e8}, corpus_bytes=3e8)
    small = [
        next(each for each in found.candidates if each.name == "nanochat-d2-v2048").plan.loss.value for found in (budget, worse)
    ]
    assert small[0] < small[1], "a vocabulary that needs more tokens for the same text must look worse"


def test_a_law_per_token_may_not_compare_vocabularies(cpu_request: PlanRequest) -> None:
    with pytest.raises(PlanError, match="cannot compare 2 vocabularies"):
        fit_to_time(1800, cpu_request, unique_tokens_by_vocab={2048: 1e8, 8192: 1e8})


def test_a_bits_per_byte_law_in_tokens_compares_roughly_and_says_so(question: PlanRequest) -> None:
    law = replace(BYTES_LAW, data_unit="tokens")
    budget = fit_to_time(1800, replace(question, law=law), unique_tokens_by_vocab={2048: 1e8, 8192: 1e8})
    assert any("only roughly" in each for each in budget.warnings)


def test_what_does_not_fit_is_rejected_with_its_need(question: PlanRequest) -> None:
    small = measured(memory_bytes=1.2e9, rates=[(64, 1e11)])
    budget = fit_to_time(1800, replace(question, hardware=small), unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8)
    assert budget.rejected
    assert all("needs" in each.reason for each in budget.rejected)
    largest_kept = max(each.plan.memory.device_bytes.mid.value for each in budget.candidates)
    assert largest_kept <= 1.2e9 < min(each.plan.memory.device_bytes.mid.value for each in budget.rejected)


def test_when_nothing_fits_the_error_is_of_kind_fit_and_names_the_nearest(question: PlanRequest) -> None:
    tiny = measured(memory_bytes=1e8, rates=[(64, 1e11)])
    with pytest.raises(PlanError) as caught:
        fit_to_time(1800, replace(question, hardware=tiny), unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8)
    assert caught.value.kind == "fit"
    assert "nanochat-d1" in caught.value.message
    with pytest.raises(PlanError, match="does not finish one step") as caught:
        fit_to_time(0.001, question, unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8)
    assert caught.value.kind == "fit"


@pytest.mark.parametrize(
    ("seconds", "unique", "corpus", "words"),
    [
        (0, {8192: 1e8}, 3e8, "time budget is 0"),
        (60, {8192: 1e8}, None, "counts bytes"),
        (60, {8192: None}, 3e8, "counts bytes"),
        (60, {}, 3e8, "no candidates"),
    ],
)
def test_incomplete_questions_are_refused(
    question: PlanRequest, seconds: float, unique: dict[int, float | None], corpus: float | None, words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        fit_to_time(seconds, question, unique_tokens_by_vocab=unique, corpus_bytes=corpus)


def test_a_candidate_without_a_token_count_is_refused(question: PlanRequest) -> None:
    with pytest.raises(PlanError, match="no token count for vocabulary 4096"):
        fit_to_time(
            60, question, unique_tokens_by_vocab={8192: 1e8}, corpus_bytes=3e8, candidates=depth_candidates([2], [4096])
        )


def test_affordable_tokens_are_whole_steps(question: PlanRequest) -> None:
    tokens = tokens_for(question, 1000)
    assert tokens.value % (256 * 16) == 0
    assert tokens_for(replace(question, mesh=Mesh(dp=2)), 1000).value == pytest.approx(2 * tokens.value, rel=0.05)
    assert tokens_for(question, 0.001).value == 0
