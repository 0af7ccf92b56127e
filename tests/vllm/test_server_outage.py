"""One real vLLM server and nobody to take its place; and a trainer that is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from server_cases import PROMPTS, SEEDS, SMALL, STOP, gap, kill, make_policy, move, servers_of, wait_until

from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.types import Completion

pytestmark = pytest.mark.timeout(900)  # a start of a server takes a minute and more on a busy machine
LONG = SamplingParams(max_tokens=700)


@pytest.fixture(scope="module")
def policy(tiny_untied: Path) -> Policy:
    return make_policy(tiny_untied)


@pytest.fixture(scope="module")
def engine(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServerEngine]:
    logs = tmp_path_factory.mktemp("logs")
    engine = VLLMServerEngine(launch=True, server_args=SMALL, max_model_len=1008, startup_timeout_s=400, log_dir=str(logs))
    engine.update_weights(policy, 0)
    yield engine
    (server,) = servers_of(engine)
    engine.close()
    assert server.process is not None
    assert not server.process.is_alive()
    assert [path.name for path in logs.iterdir()] == ["vllm-server-0.log"]


def test_an_untied_head_is_current_too(engine: VLLMServerEngine, policy: Policy) -> None:
    for version, temperature in ((1, 1.0), (2, 0.7)):
        move(policy, version)
        engine.update_weights(policy, version)
        completions = engine.generate(PROMPTS, SamplingParams(max_tokens=24, temperature=temperature), SEEDS, [STOP])
        assert gap(policy, completions, temperature) < 1e-4


def test_more_prompts_than_one_step_takes(engine: VLLMServerEngine, policy: Policy) -> None:
    """vLLM's CPU build dies when a prompt of a request with a seed is computed in several steps: launched servers do not do that."""
    prompts = [replace(PROMPTS[2], id=str(i), token_ids=(i + 4, *PROMPTS[2].token_ids)) for i in range(24)]
    completions = engine.generate(prompts, SamplingParams(max_tokens=4), [[i] for i in range(24)], [])
    assert sum(len(prompt.token_ids) for prompt in prompts) > 2 * 2048
    assert engine.num_sent_again == 0
    assert gap(policy, completions, 1.0, prompts) < 1e-4


def test_what_a_server_would_choke_on_never_reaches_it(engine: VLLMServerEngine) -> None:
    with pytest.raises(ValueError, match="outside the model's vocabulary of"):
        engine.generate([replace(PROMPTS[0], token_ids=(5, 9999))], LONG, [[0]], [])
    with pytest.raises(ValueError, match="max_model_len=1008"):
        engine.generate([replace(PROMPTS[0], token_ids=(5,) * 600)], LONG, [[0]], [])


def test_the_only_server_is_killed_and_comes_back_without_weights(engine: VLLMServerEngine, policy: Policy) -> None:
    """It is started by hand, as somebody else might, while nobody gives it weights: what it then says is not believed."""
    (server,) = servers_of(engine)
    assert server.process is not None
    assert engine._fleet is not None
    pool = engine._fleet.pool
    assert pool is not None
    # So many that the call lasts while the server is killed.
    seeds = [[100 * p + g for g in range(30)] for p in range(len(PROMPTS))]
    undisturbed = engine.generate(PROMPTS, LONG, seeds, [])
    results: list[list[list[Completion]]] = []
    thread = threading.Thread(target=lambda: results.append(engine.generate(PROMPTS, LONG, seeds, [])))
    thread.start()
    wait_until(lambda: server.num_running >= 6, 20)
    with server.update_lock:
        kill(server)
        wait_until(lambda: not server.process.is_alive(), 20)  # type: ignore[union-attr]
        server.process.start()
        wait_until(lambda: label_of(engine) == "default", 240)
        assert not results
        sent_again = engine.num_sent_again
        assert sent_again <= 90
        pool.mark_ready(server)
        wait_until(lambda: "holds weights 'default'" in server.problem, 20)
        assert engine.num_sent_again > sent_again
    thread.join()
    assert results[0] == undisturbed
    assert {c.weight_version for row in results[0] for c in row} == {2}


def label_of(engine: VLLMServerEngine) -> str:
    try:
        return servers_of(engine)[0].client.weight_label()
    except ServerFailed:
        return "silence"


def test_the_trainers_death_is_its_servers_death(tiny_tied: Path) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import threading
from server_cases import SMALL, make_policy, servers_of, wait_until
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from pathlib import Path
engine = VLLMServerEngine(launch=True, server_args=SMALL)
threading.Thread(target=engine.update_weights, args=(make_policy(Path({str(tiny_tied)!r})), 0), daemon=True).start()
wait_until(lambda: engine._fleet and engine._fleet.pool and servers_of(engine)[0].process.process_id, 100)
print(servers_of(engine)[0].process.process_id, engine._fleet._opened._folder.name, flush=True)
threading.Event().wait()
"""
    trainer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    server, folder = trainer.stdout.readline().split()
    assert Path(folder).exists()
    wait_until(lambda: len(group(int(server))) >= 3, 120)
    processes = group(int(server))
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    trainer.stdout.close()
    wait_until(lambda: not group(int(server)), 20)
    assert not any(os.path.exists(f"/proc/{process}/exe") for process in processes)
    wait_until(lambda: not Path(folder).exists(), 10)


def group(leader: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(process_group) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found
