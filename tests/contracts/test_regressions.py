"""Bugs that other trainers shipped, and the test that keeps each out of this one. The list is the project's memory: a test that
is renamed or removed is missed here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BUGS = {
    "mean of batch means in validation (torchtitan#4167)":
        "integration/test_peer_bugs.py::test_a_short_last_batch_weighs_by_its_tokens",
    "NaN evades the watchdog, and resets its count (axolotl)": "unit/trainer/test_guards.py::test_nan_does_not_reset_the_count",
    "peak FLOP/s off by two (OLMo-core, torchtitan#1393)":
        "unit/planners/test_hardware_presets.py::test_every_tensor_core_peak_is_the_datasheets_dense_one",
    "response mask lost in a refactor (nanochat#582)":
        "unit/data/chat/test_masks.py::test_exactly_the_answers_and_their_ends_are_trained",
    "mask off by one (torchtitan#2755)": "integration/test_flight.py::test_shifted_targets",
    "second resume restarts the loader (torchtitan#3908)":
        "integration/test_resume.py::test_stopped_and_resumed_twice_is_uninterrupted",
    "an evaluation out of memory shrinks the training batch (transformers#32215)": (
        "integration/test_tuning_resume.py::test_evaluations_do_not_change_the_training"
    ),
    "auto batch size changes the effective batch, or the step (EuroEval#69, sentence-transformers#3145)":
        "integration/test_probe.py::test_out_of_memory_makes_the_micro_batch_smaller_and_nothing_else",
    "tied weights corrupt an export (torchtitan#3764)":
        "integration/test_tuning_cli.py::test_every_export_is_checked_and_can_be_used",
    "the optimizer's step is frozen (OLMo-core)":
        "integration/test_peer_bugs.py::test_the_optimizers_own_step_counts_on_and_survives_a_resume",
    "rounding a mixture repeats data (OLMo-core)":
        "unit/data/test_mixture.py::test_every_prefix_is_within_one_of_the_exact_share",
    "parts of a model initialised identically (OLMo-core)":
        "integration/test_peer_bugs.py::test_no_two_layers_begin_with_the_same_weights",
    "a mean shown as the last loss (unsloth#8314)":
        "integration/test_peer_bugs.py::test_the_loss_a_run_ends_with_is_its_last_and_no_mean",
    "frozen base in every adapter checkpoint (Soup#352)":
        "integration/test_tuning_cli.py::test_an_adapter_checkpoint_holds_the_adapter_alone",
    "an undrained pipe stops the training (LLaMA-Factory#10584)":
        "integration/test_life.py::test_killing_the_terminal_leaves_the_run_alive",
    "pad == eos masks the end (trl#6357)":
        "unit/data/chat/test_example_loader.py::test_an_end_that_is_also_the_padding_is_trained",
    "bits per byte from decoded strings (nanochat#693)":
        "unit/data/test_validation.py::test_every_token_is_counted_once_with_its_bytes",
    "an all-ones mask turns packing's isolation off (transformers#46634)":
        "integration/test_flight.py::test_a_padding_mask_that_lets_packed_examples_see_each_other",
    "merging into 4-bit weights (peft#2321)":
        "unit/model/test_pretrained.py::test_an_adapter_is_merged_into_what_it_learnt_beside",
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_each_bug_has_its_test(bug: str) -> None:
    file, _, name = BUGS[bug].partition("::")
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in names, f"{bug}: {name} is not in {file}"
