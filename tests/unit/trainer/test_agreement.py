"""Do all processes run the same: what differs is named, with who has which."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from unit.config.test_resolve import resolved

from tuitrain.errors import ConfigError
from tuitrain.runs.torchrun import trainer_environment
from tuitrain.trainer.parallel.agreement import differences, facts, who_has_which
from tuitrain.trainer.stages.text import same_on_all

ASK = """
import os
from tuitrain.config.load import load_config
from tuitrain.config.resolved import Resolved
from tuitrain.errors import EnvironmentError_
from tuitrain.trainer.parallel import init_world
from tuitrain.trainer.parallel.agreement import require_agreement
world = init_world("cpu")
require_agreement(world, Resolved(config=load_config(None, ["train.steps=3"])))
try:
    require_agreement(world, Resolved(config=load_config(None, [f"train.steps={3 + world.rank}"])))
except EnvironmentError_ as error:
    print(error.message, flush=True)
os._exit(0)
"""


def test_the_same_is_the_same() -> None:
    assert differences([facts(resolved()), facts(resolved())]) == []


def test_versions_and_values_that_differ_are_named_with_their_ranks() -> None:
    mine = facts(resolved())
    other = facts(resolved()) | {"torch": "0.1"}
    third = mine | {"optim.lr": "7.0"}
    assert differences([mine, other, third, mine]) == [
        f"torch is {mine['torch']} on ranks 0, 2, 3 and 0.1 on rank 1",
        f"optim.lr is {mine['optim.lr']} on ranks 0, 1, 3 and 7.0 on rank 2",
    ]


def test_who_has_which_keeps_the_order_of_ranks() -> None:
    assert who_has_which(["b", "a", "b"]) == "b on ranks 0, 2 and a on rank 1"


def test_two_processes_that_run_different_things_both_say_so() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = trainer_environment(os.environ, attempt=1)
    env |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        subprocess.Popen([sys.executable, "-c", ASK], env=env | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for child in children:
        said, _ = child.communicate(timeout=120)
        assert said.strip() == "the processes do not run the same: train.steps is 3 on rank 0 and 4 on rank 1"


def test_data_that_differ_are_named_with_their_ranks() -> None:
    class Three:
        def gather(self, value: str) -> list[str]:
            return [value, "other", value]

    with pytest.raises(ConfigError, match="different data: mine on ranks 0, 2 and other on rank 1"):
        same_on_all(Three(), "mine")
