"""Which way NCCL takes: chosen by adding up, with fakes for what GPUs do; remembered; never over the user's head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from unit.config.test_resolve import gpu_box

from tuitrain.config.load import load_config
from tuitrain.config.schema import Config
from tuitrain.errors import EnvironmentError_
from tuitrain.files import write_json
from tuitrain.runs import launch
from tuitrain.runs.nccl import choose, known_way, nccl_way, way_of
from tuitrain.runs.store import Run

P2P_OFF = {"NCCL_P2P_DISABLE": "1"}
BOTH_OFF = P2P_OFF | {"NCCL_SHM_DISABLE": "1"}
HANG, WRONG, CRASH = "rank 1 hung for 60 s", "rank 0: 12 of 1024 sums are wrong", "ranks 0, 1 crashed"
TWO = gpu_box(8.9, 2)


@pytest.fixture(autouse=True)
def nobody_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BOTH_OFF:
        monkeypatch.delenv(name, raising=False)


class Fake:
    """Answers in turn, and what was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, setting: Mapping[str, str]) -> str:
        self.asked.append(dict(setting))
        return self.answers[len(self.asked) - 1]


def asked_for(*overrides: str) -> Config:
    return load_config(None, ["run.device=cuda", "run.nproc=2", *overrides])


@pytest.mark.parametrize(
    ("answers", "setting", "why"),
    [
        (("",), {}, "NCCL's own choice adds up right"),
        ((HANG, ""), P2P_OFF, f"NCCL's own choice: {HANG}"),
        ((WRONG, ""), P2P_OFF, f"NCCL's own choice: {WRONG}"),
        ((CRASH, CRASH, ""), BOTH_OFF, f"without peer-to-peer: {CRASH}"),
    ],
)
def test_the_first_way_that_adds_up_is_taken(answers: tuple[str, ...], setting: dict[str, str], why: str) -> None:
    fake = Fake(*answers)
    way = choose(fake)
    assert way.environment == setting
    assert why in way.reason
    assert fake.asked == [{}, P2P_OFF, BOTH_OFF][: len(answers)], "fastest first, and none after the first that is right"


def test_when_none_adds_up_the_error_names_what_happened_and_the_cure() -> None:
    with pytest.raises(EnvironmentError_) as caught:
        choose(Fake(HANG, WRONG, CRASH))
    assert all(each in caught.value.message for each in (HANG, WRONG, CRASH))
    assert "driver" in caught.value.hint


def test_the_answer_is_remembered_for_driver_and_cards() -> None:
    fake, said = Fake(HANG, ""), []
    first = nccl_way(asked_for(), TWO, said.append, try_setting=fake)
    assert first == nccl_way(asked_for(), TWO, said.append, try_setting=fake) == known_way(asked_for(), TWO)
    assert len(fake.asked) == 2
    assert len(said) == 1
    newer = replace(TWO, gpus=tuple(replace(gpu, driver="999") for gpu in TWO.gpus))
    assert known_way(asked_for(), newer) is None
    assert nccl_way(asked_for(), newer, said.append, try_setting=Fake("")).environment == {}


def test_a_failure_is_not_remembered() -> None:
    with pytest.raises(EnvironmentError_):
        nccl_way(asked_for(), TWO, print, try_setting=Fake(HANG, HANG, HANG))
    assert known_way(asked_for(), TWO) is None


def test_what_the_user_chose_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0")
    fake = Fake()
    assert nccl_way(asked_for(), TWO, print, try_setting=fake).environment == {"NCCL_P2P_DISABLE": "0"}
    assert fake.asked == []


def test_one_process_and_cpus_have_nothing_to_try() -> None:
    assert nccl_way(asked_for("run.nproc=1"), TWO, print, try_setting=Fake()) is None
    assert nccl_way(asked_for("run.device=cpu"), TWO, print, try_setting=Fake()) is None


def test_a_run_keeps_its_way(tmp_path) -> None:
    assert way_of(tmp_path) == {}
    write_json(tmp_path / "environment.json", {"nccl": choose(Fake(HANG, "")).to_dict()})
    assert way_of(tmp_path) == P2P_OFF


@pytest.mark.parametrize(("chosen", "seen"), [(None, "1"), ("0", "0")], ids=["as found", "the user's own"])
def test_the_supervisor_of_a_run_gets_its_way(tmp_path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, seen: str) -> None:
    class StartedError(Exception):
        pass

    def popen(*arguments, env: dict[str, str], **others) -> None:
        raise StartedError(env["NCCL_P2P_DISABLE"])

    write_json(tmp_path / "environment.json", {"nccl": choose(Fake(HANG, "")).to_dict()})
    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    if chosen is not None:
        monkeypatch.setenv("NCCL_P2P_DISABLE", chosen)
    with pytest.raises(StartedError, match=seen):
        launch.start(Run(tmp_path))
