"""A whole training run on a launched server that is killed in the middle of it."""

import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from server_cases import SMALL, kill, servers_of

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine

sys.path.append(str(Path(__file__).parents[1] / "end_to_end"))
from rl_run import flat_weights, make_data, make_module, make_trainer

pytestmark = pytest.mark.timeout(1200)  # three starts of a server, each a minute and more on a busy machine
ROLLOUTS_PER_ITERATION = 24


def train(model: Path, engine: VLLMServerEngine) -> torch.Tensor:
    seed_everything(0)
    module, data = make_module(model), make_data(model, engine=engine)
    data.sampling = SamplingParams(max_tokens=96)
    make_trainer(max_epochs=3, limit_val_batches=0).fit(module, data)
    return flat_weights(module)


def kill_once(engine: VLLMServerEngine, killed: list[int]) -> None:
    """Kill the server when the first rollout of the second iteration is there, and the others are not."""

    def strike(num_finished: int, num_all: int) -> None:
        if engine.weight_version == 4 and not killed:
            killed.append(num_all - num_finished)
            kill(servers_of(engine)[0])

    engine.on_progress = strike


def test_a_server_killed_in_the_middle_of_a_run_changes_nothing_but_its_duration(tiny_tied: Path) -> None:
    calm = VLLMServerEngine(launch=True, server_args=SMALL, startup_timeout_s=400)
    expected = train(tiny_tied, calm)
    assert calm.num_sent_again == 0

    engine = VLLMServerEngine(launch=True, server_args=SMALL, startup_timeout_s=400)
    killed: list[int] = []
    kill_once(engine, killed)
    found = train(tiny_tied, engine)
    assert len(killed) == 1
    assert 0 < engine.num_sent_again <= killed[0] < ROLLOUTS_PER_ITERATION
    assert torch.equal(found, expected)
