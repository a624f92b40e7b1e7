"""The form as a value: what may be typed, what it asks of the planner, and that nothing wrong is planned silently."""

from __future__ import annotations

import pytest

from tuitrain.runs.home import presets_dir
from tuitrain.tui.plan.editor import Editor
from tuitrain.tui.plan.fields import BY_KEY, FIELDS, first_form
from tuitrain.tui.plan.reading import Sources, read
from tuitrain.tui.plan.state import Planning, go_to
from tuitrain.tui.plan.suggest import matches
from tuitrain.tui.plan.whole import FieldError
from tuitrain_planners import Adapter, PlanError, format_count, measured

HERE = measured(memory_bytes=16e9, rates=[(64, 1e9), (384, 1e10)])


def at_fp32(precision):
    if precision != "fp32":
        raise PlanError(f"this machine was never measured in {precision}", "M measures it")
    return HERE


SOURCES = Sources(presets=presets_dir(), measured=at_fp32)


@pytest.fixture
def planning():
    made = Planning(SOURCES)
    made.replan()
    assert made.error is None
    return made


def typed(planning, key, text):
    """What stands in a field after typing over it, a character at a time."""
    go_to(planning, key)
    planning.begin()
    planning.edit_key("backspace")
    for char in text:
        planning.type(char)


def test_every_field_explains_a_number_that_exists(planning):
    from tuitrain.tui.plan.explaining import explainable

    planning.finish()
    names = explainable(planning.planned, planning.grid)
    assert {each.figure for each in FIELDS} <= names.keys()
    assert all(BY_KEY[each.key].tip for each in FIELDS)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seq", "8k", 8000), ("seq", "8Ki", 8192), ("seq", "4_096", 4096), ("devices", "16", 16), ("micro_batch", "3", 3),
        ("accumulate", "12", 12),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(planning, key, text, value):
    typed(planning, key, text)
    assert planning.error is None
    request = planning.planned.request
    found = {"seq": request.seq_len, "devices": request.mesh.devices, "micro_batch": request.micro_batch}
    assert found.get(key, request.grad_accum) == value


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("20B", 20e9), ("3e9", 3e9), ("1.4T", 1.4e12), ("500000", 5e5)],
)
def test_a_length_in_tokens(planning, text, tokens):
    typed(planning, "length", text)
    assert planning.error is None
    assert planning.planned.tokens.value == tokens


def test_a_length_as_time_money_device_hours_and_compute(planning):
    hours = planning.planned.throughput
    typed(planning, "length", "12h")
    assert planning.planned.throughput.duration_s.mid.value == pytest.approx(12 * 3600, rel=1e-3)
    typed(planning, "length", "96 gpu-h")
    assert planning.planned.throughput.duration_s.mid.value == pytest.approx(12 * 3600, rel=1e-3)
    typed(planning, "length", "$500")
    assert planning.planned.usd.mid.value == pytest.approx(500, rel=1e-3)
    typed(planning, "length", "1e21 FLOP")
    assert planning.planned.total_flop.value == pytest.approx(1e21, rel=1e-6)
    typed(planning, "length", "optimal")
    assert planning.planned.throughput.duration_s.mid.value == pytest.approx(hours.duration_s.mid.value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("seq", "8.5", "no whole number"),
        ("seq", "0", "no whole number"),
        ("seq", "-4", "no whole number"),
        ("seq", "1e400", "too large"),
        ("seq", "9" * 60, "more than"),
        ("seq", "", "cannot read"),
        ("devices", "1e30", "more than"),
        ("memory", "80G", "ambiguous"),
        ("memory", "80 parsecs", "unknown unit"),
        ("memory", "12", "bytes of memory"),
        ("length", "soon", "cannot read"),
        ("length", "-3", "tokens"),
        ("length", "$lots", "as money"),
        ("length", "1us", "less than one step"),
        ("model", "llama-9", "unknown model"),
        ("model", "d0", "depth is 0"),
        ("model", "9e30", "parameters"),
        ("hardware", "abacus", "unknown hardware"),
        ("hardware", "this", "never measured in bf16-mixed"),
        ("price", "x", "as a price"),
        ("price", "-1", "price"),
        ("model", "\x1b[2Jgone.json", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_said_under_its_field_and_the_last_plan_stays(planning, key, text, said):
    before = planning.planned
    go_to(planning, key)
    planning.begin()
    planning.edit_key("backspace")
    planning.planned = before
    planning.type(text)
    if not text:
        planning.replan()
    assert planning.error is not None, planning.form[key]
    assert said in planning.error.message
    assert FIELDS[planning.error_row].key == key
    assert planning.stale
    assert planning.planned is before
    assert not planning.accept()
    planning.cancel()
    assert planning.error is None
    assert planning.form == first_form()


def test_an_error_of_no_single_field_stands_under_the_one_changed_last(planning):
    planning.change(planning.form.put(model="gpt2", seq="1024"))
    assert planning.error is None
    typed(planning, "seq", "2048")
    assert planning.error.field == ""
    assert "learned positions" in planning.error.message
    assert FIELDS[planning.error_row].key == "seq"


def test_memory_of_a_device_in_both_units(planning):
    typed(planning, "memory", "24GB")
    assert planning.planned.memory.capacity_bytes == 24e9
    typed(planning, "memory", "24GiB")
    assert planning.planned.memory.capacity_bytes == 24 * 2**30


def test_methods_are_adapters():
    form = first_form()
    assert read(form, SOURCES).adapter is None
    assert read(form.put(rank="0", targets="nothing"), SOURCES).adapter is None, "they say nothing beside full training"
    assert read(form.put(method="lora"), SOURCES).adapter == Adapter()
    assert read(form.put(method="qlora"), SOURCES).adapter == Adapter(base="nf4-dq")
    some = form.put(method="lora", rank="64", targets="q, v")
    assert read(some, SOURCES).adapter == Adapter(rank=64, targets=("q", "v"))


def test_adapters_need_less_memory_and_compute_and_no_law_speaks_of_them(planning):
    planning.change(planning.form.put(devices="1", seq="1024"))  # states outweigh the activations that adapters add
    full = planning.planned
    made = {}
    for method in ("lora", "qlora"):
        planning.change(planning.form.put(method=method))
        made[method] = planning.planned
    lora, qlora = made["lora"], made["qlora"]
    assert qlora.memory.step.peak.value < lora.memory.step.peak.value < full.memory.step.peak.value
    assert lora.flop_per_token.value < full.flop_per_token.value
    assert lora.throughput.step_s.value < full.throughput.step_s.value
    assert lora.trainable_parameters.value < 0.01 * lora.parameters.value
    assert not lora.is_pretraining
    assert lora.tokens.value == 10e6
    assert lora.request.zero == 3


def test_a_layout_cuts_memory_and_the_data_axis_takes_the_rest(planning):
    planning.change(planning.form.put(model="llama-3-70b", devices="64", tp="8", pp="2"))
    mesh = planning.planned.request.mesh
    assert (mesh.dp, mesh.tp, mesh.pp, mesh.devices) == (4, 8, 2, 64)
    cut = planning.planned
    planning.change(planning.form.put(tp="1", pp="1"))
    assert planning.planned.request.mesh.dp == 64
    assert cut.memory.step.peak.value < planning.planned.memory.step.peak.value


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"tp": "3"}, "tp", "8 devices are no multiple of tp 3 = 3"),
        ({"tp": "4", "pp": "4"}, "pp", "8 devices are no multiple of tp 4 x pp 4 = 16"),
        ({"tp": "2", "cp": "8"}, "cp", "no multiple of tp 2 x cp 8"),
        ({"devices": "6", "tp": "3"}, "tp", "tp 3 does not divide num_heads 32"),
        ({"devices": "64", "pp": "64"}, "pp", "32 layers"),
        ({"ep": "8"}, "ep", "dense model"),
        ({"model": "mixtral-8x7b", "ep": "3"}, "ep", "ep 3 does not divide experts 8"),
        ({"model": "mixtral-8x7b", "ep": "8", "tp": "2"}, "ep", "ep 8 does not divide dp * cp = 4"),
        ({"tp": "2", "cp": "2", "seq": "1022"}, "seq", "1022 tokens in 4 parts"),
        ({"devices": "1", "tp": "2"}, "tp", "1 devices are no multiple"),
        ({"method": "lora", "rank": "0"}, "rank", "no whole number"),
        ({"method": "lora", "targets": "q,qkv"}, "targets", "unknown adapter target"),
    ],
)
def test_a_layout_that_does_not_multiply_up_is_said_under_its_field(planning, change, key, said):
    planning.change(planning.form.put(**change))
    assert planning.error is not None
    assert said in planning.error.message
    assert FIELDS[planning.error_row].key == key
    assert planning.error_row in planning.visible, "an error is never behind the fold"


def test_degrees_turn_among_those_the_devices_and_the_model_allow(planning):
    planning.change(planning.form.put(devices="48"))
    go_to(planning, "tp")
    seen = []
    for _ in range(7):
        planning.turn(1)
        assert planning.error is None
        seen.append(planning.form["tp"])
    assert seen == ["2", "4", "8", "1", "2", "4", "8"], "3 and 16 do not divide 8 key/value heads"
    go_to(planning, "pp")
    planning.turn(-1)
    assert planning.form["pp"] == "6"
    assert planning.planned.request.mesh.devices == 48


def labels(planning):
    return [FIELDS[index].key for index in planning.visible]


def test_what_is_seldom_set_is_folded_until_it_is_asked_for_or_set(planning):
    assert labels(planning)[-1] == "more"
    planning.change(planning.form.put(framework="deepspeed"))
    assert labels(planning)[-1] == "framework"
    planning.undo()
    planning.fold()
    assert {"framework", "loss", "offload", "tp", "pp", "cp"} <= set(labels(planning))
    assert not {"ep", "rank", "targets"} & set(labels(planning)), "no experts, no adapters"
    planning.change(planning.form.put(method="lora", model="mixtral-8x7b"))
    assert {"ep", "rank", "targets"} <= set(labels(planning))
    planning.change(planning.form.put(devices="1"))
    assert not {"tp", "pp", "cp", "ep"} & set(labels(planning))


def test_the_cursor_skips_what_is_folded_and_is_never_on_it(planning):
    for _ in FIELDS:
        planning.move(1)
    assert planning.current.key == "more"
    planning.turn(1)
    assert planning.unfolded
    for _ in FIELDS:
        planning.move(1)
    assert planning.current.key == "cp"
    planning.fold()
    assert planning.current.key == "more"


def test_this_machine_at_a_precision_it_was_measured_in():
    form = first_form(model="d4", hardware="this", devices="1", zero="0", seq="512", precision="fp32")
    assert read(form, SOURCES).hardware is HERE
    with pytest.raises(FieldError, match="never measured"):
        read(form.put(precision="bf16-mixed"), SOURCES)


def test_type_ahead_plans_the_name_that_is_meant(planning):
    go_to(planning, "model")
    planning.begin()
    planning.type("q")
    first = next(name for name in SOURCES.names("model") if name.startswith("q"))
    assert planning.meant == first
    assert planning.planned.request.shape.name == first
    for char in "wen3-8":
        planning.type(char)
    assert planning.meant == "qwen3-8b"
    assert planning.accept()
    assert planning.form["model"] == "qwen3-8b"
    assert planning.undo()
    assert planning.form["model"] == "llama-3-8b"


def test_arrows_choose_among_the_names_and_escape_takes_all_back(planning):
    go_to(planning, "hardware")
    planning.begin()
    planning.type("a100")
    assert planning.offered == ["a100-40gb", "a100-40gb-pcie", "a100-80gb", "a100-80gb-pcie"]
    planning.edit_key("down")
    planning.edit_key("down")
    assert planning.planned.request.hardware.name == "a100-80gb"
    planning.cancel()
    assert planning.form["hardware"] == "h100-80gb"
    assert not planning.can_undo


def test_what_is_typed_exactly_is_never_taken_for_something_longer(planning):
    planning.change(planning.form.put(seq="1024"))
    typed(planning, "model", "gpt2")
    assert planning.meant == ""
    assert planning.planned.request.shape.name == "gpt2"
    typed(planning, "model", "7B")
    assert planning.planned.request.shape.name.startswith("llama-like")
    typed(planning, "model", "d12")
    assert planning.planned.request.shape.num_layers == 12


@pytest.mark.parametrize(("text", "first"), [("8b", "llama-3-8b"), ("h100", "h100-80gb"), ("4090", "rtx-4090")])
def test_matches(text, first):
    names = SOURCES.names("model") + SOURCES.names("hardware")
    assert matches(text, names)[0] == first


def test_what_is_only_spelt_alike_is_offered_but_not_taken(planning):
    typed(planning, "model", "mistrel-7b")
    assert planning.offered[0] == "mistral-7b"
    assert planning.error is not None
    assert not planning.accept()
    planning.edit_key("down")
    assert planning.error is None
    assert planning.accept()


def test_turning_cycles_choices_and_doubles_numbers(planning):
    go_to(planning, "zero")
    planning.turn(1)
    assert planning.form["zero"] == "0"
    go_to(planning, "micro_batch")
    planning.turn(1)
    planning.turn(1)
    planning.turn(-1)
    assert planning.form["micro_batch"] == "2"
    go_to(planning, "hardware")
    planning.turn(1)
    names = SOURCES.names("hardware")
    assert planning.form["hardware"] == names[names.index("h100-80gb") + 1] != "h100-80gb"


def test_anything_else_ends_typing(planning):
    typed(planning, "seq", "40x")
    planning.move(1)
    assert planning.editor is None
    assert planning.form["seq"] == "8192"
    typed(planning, "seq", "4096")
    planning.turn(1)
    assert planning.form["seq"] == "8192"


def test_the_fix_goes_into_the_form_and_can_be_taken_back(planning):
    planning.change(planning.form.put(micro_batch="8"))
    planning.finish()
    assert planning.planned.memory.verdict == "oom"
    words = planning.fix.words
    assert planning.apply_fix() == words
    assert planning.planned.memory.verdict == "fits"
    assert int(planning.form["micro_batch"]) * int(planning.form["accumulate"]) == 8
    planning.undo()
    assert planning.form["micro_batch"] == "8"
    planning.change(planning.form.put(micro_batch="1", recompute="selective"))
    assert planning.planned.memory.verdict == "fits"
    assert planning.apply_fix() == "it fits already"


@pytest.mark.parametrize(
    ("keys", "text", "at"),
    [
        (["x"], "x", 1), (["end", "x"], "abcx", 4), (["left", "x"], "abxc", 3), (["home", "delete"], "bc", 0),
        (["end", "backspace"], "ab", 2), (["backspace"], "", 0), (["end", "ctrl+u", "y"], "y", 1), (["end", "ctrl+w"], "", 0),
        (["home", "left", "backspace"], "abc", 0), (["end", "right", "delete"], "abc", 3),
    ],
)  # fmt: skip
def test_editing_a_line(keys, text, at):
    editor = Editor.of("abc")
    for key in keys:
        editor = editor.typed(key) if len(key) == 1 else editor.key(key)
    assert (editor.text, editor.at) == (text, at)


def test_keys_that_edit_nothing_are_nobodys():
    assert Editor.of("abc").key("f5") is None


@pytest.mark.parametrize(
    "change",
    [
        {}, {"micro_batch": "4", "accumulate": "2", "recompute": "selective", "loss": "plain"}, {"length": "12h", "seq": "4k"},
        {"model": "7B", "devices": "1", "zero": "0", "grid": "france", "price": "1.5"},
        {"model": "d12", "hardware": "rtx-4090", "devices": "1", "zero": "0", "precision": "fp32", "optimizer": "muon"},
        {"model": "llama-3-70b", "devices": "64", "tp": "8", "pp": "2"},
        {"devices": "16", "cp": "4", "seq": "64Ki", "framework": "megatron", "recompute": "selective", "loss": "bf16"},
        {"model": "mixtral-8x7b", "devices": "32", "ep": "8", "tp": "2", "optimizer": "adamw-8bit"},
        {"hardware": "rtx-4090", "devices": "1", "zero": "0", "seq": "2048", "method": "qlora"},
        {"memory": "24 GB"},
        {"method": "lora", "rank": "64", "targets": "q,v,head", "framework": "litgpt", "length": "3e6"},
        {"offload": "optimizer", "framework": "deepspeed", "optimizer": "adamw-foreach", "zero": "2"},
        {"offload": "all", "precision": "bf16-pure", "length": "$500", "price": "2.123456789"},
        {"framework": "hf-trainer", "length": "300 gpu-h", "precision": "fp16-mixed", "zero": "1"},
    ],
)  # fmt: skip
def test_the_command_plans_the_same(change, monkeypatch, capsys):
    import json

    from tuitrain.__main__ import main
    from tuitrain.tui.plan.command import plan_command

    planning = Planning(SOURCES, form=first_form(**change))
    planning.replan()
    command = plan_command(planning.form, planning.planned.request)
    monkeypatch.setattr("sys.argv", [*command.split(), "--json"])
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert told["memory"]["peak_bytes"] == planning.planned.memory.step.peak.value
    assert told["memory"]["device_bytes"]["high"] == planning.planned.memory.device_bytes.high.value
    assert told["time"]["step_s"] == planning.planned.throughput.step_s.value
    assert told["storage"]["disk_bytes"] == pytest.approx(planning.planned.storage.disk_bytes.value)
    assert told["tokens"]["planned"] == pytest.approx(planning.planned.tokens.value, rel=1e-12)
    assert told["cost"]["usd"]["mid"] == pytest.approx(planning.planned.usd.mid.value)
    assert told["energy"]["kg_co2e"]["mid"] == pytest.approx(planning.planned.kg_co2e.mid.value)


def test_parameters_are_shown_as_the_planner_counts_them(planning):
    assert format_count(planning.planned.parameters.value) == "8.03B"
