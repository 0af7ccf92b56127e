"""The transfer over NCCL, as far as it can be followed without a GPU."""

from pathlib import Path

import pytest
from scripted_server import ScriptedServer
from server_cases import make_policy

from lit_rlvr.rollout.vllm.server.client import ServerClient
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.rollout.vllm.server.nccl import _AllServers
from lit_rlvr.rollout.vllm.server.pool import Server


def test_a_policy_on_the_cpu_is_refused_before_anything_is_started(tiny_tied: Path) -> None:
    engine = VLLMServerEngine(launch=True, transfer="nccl")
    with pytest.raises(ValueError, match=r"nccl sends weights from an NVIDIA GPU, but the policy is on .cpu.; take files"):
        engine.update_weights(make_policy(tiny_tied), 0)
    assert engine._fleet is not None
    assert engine._fleet._opened is None


def test_workers_of_several_servers_get_ranks_of_their_own_and_the_label_comes_last() -> None:
    scripts = [ScriptedServer(), ScriptedServer()]
    scripts[0].world_size = 2
    everybody = _AllServers([Server(ServerClient(script.url)) for script in scripts], "run/3")
    everybody.ask_worlds()
    everybody.init_weight_transfer_engine({"master_address": "127.0.0.1", "rank_offset": 1, "world_size": 4})
    everybody.start_weight_update()
    everybody.update_weights({"names": []})
    everybody.finish_weight_update()
    for script, offset in zip(scripts, (1, 3), strict=True):
        heard = dict(script.heard)
        assert heard["/init_weight_transfer_engine"]["init_info"]["rank_offset"] == offset
        assert heard["/finish_weight_update"] == {"weight_version": "run/3"}
        order = [path for path, _ in script.heard]
        assert order.index("/pause") < order.index("/start_weight_update") < order.index("/update_weights")
        assert order[-3:] == ["/finish_weight_update", "/reset_prefix_cache", "/resume"]
        script.stop()
