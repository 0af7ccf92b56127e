"""Two real vLLM servers, launched by the engine: current weights, shared work, and what happens when one dies."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from server_cases import PROMPTS, SEEDS, SMALL, STOP, gap, kill, make_policy, move, servers_of, wait_until

from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.types import Completion

pytestmark = pytest.mark.timeout(900)  # a start of a server takes a minute and more on a busy machine
PARAMS = SamplingParams(max_tokens=24)
LONG = SamplingParams(max_tokens=700)
LONG_SEEDS = [[1000 * p + g for g in range(6)] for p in range(len(PROMPTS))]
MANY_SEEDS = [[1000 * p + g for g in range(30)] for p in range(len(PROMPTS))]
"""So many that a call lasts longer than an update takes to begin."""


@pytest.fixture(scope="module")
def policy(tiny_tied: Path) -> Policy:
    return make_policy(tiny_tied)


@pytest.fixture(scope="module")
def engine(policy: Policy) -> Iterator[VLLMServerEngine]:
    engine = VLLMServerEngine(launch=True, num_servers=2, server_args=SMALL, bucket_mb=1, startup_timeout_s=400)
    engine.update_weights(policy, 0)
    yield engine
    engine.close()


def test_log_probs_are_the_policys_after_each_update(engine: VLLMServerEngine, policy: Policy) -> None:
    for version, temperature in ((1, 1.0), (2, 0.7)):
        move(policy, version)
        engine.update_weights(policy, version)
        params = SamplingParams(max_tokens=24, temperature=temperature)
        completions = engine.generate(PROMPTS, params, SEEDS, [STOP])
        assert gap(policy, completions, temperature) < 1e-4
        assert {c.weight_version for row in completions for c in row} == {version}
        assert not any(c.token_versions for row in completions for c in row)
        assert all(c.is_truncated == (c.token_ids[-1] != STOP) for row in completions for c in row)
        assert all(c.semantics == params.semantics for row in completions for c in row)
    greedy = engine.generate(PROMPTS, SamplingParams(max_tokens=4, temperature=0.0), [[0], [0], [0]], [])
    assert {logprob for (c,) in greedy for logprob in c.logprobs} == {0.0}


def test_both_servers_share_a_call_and_tell_of_each_completion(engine: VLLMServerEngine) -> None:
    told: list[tuple[int, int, Completion]] = []
    busiest = {server.url: 0 for server in servers_of(engine)}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.001):
            for server in servers_of(engine):
                busiest[server.url] = max(busiest[server.url], server.num_running)

    watcher = threading.Thread(target=watch)
    watcher.start()
    engine.on_completion = lambda p, g, completion: told.append((p, g, completion))
    completions = engine.generate(PROMPTS, LONG, SEEDS, [STOP])
    engine.on_completion = None
    is_over.set()
    watcher.join()
    assert min(busiest.values()) > 0
    assert sorted((p, g) for p, g, _ in told) == [(p, g) for p in range(3) for g in range(4)]
    assert all(completions[p][g] == completion for p, g, completion in told)


def test_a_server_killed_in_the_middle_changes_nothing_and_comes_back_with_the_current_weights(
    engine: VLLMServerEngine, policy: Policy
) -> None:
    undisturbed = engine.generate(PROMPTS, LONG, LONG_SEEDS, [])
    victim, other = servers_of(engine)
    before = engine.num_sent_again
    served_while_down: list[bool] = []

    def strike() -> None:
        wait_until(lambda: victim.num_running > 2, 20)
        kill(victim)

    killer = threading.Thread(target=strike)
    killer.start()
    disturbed = engine.generate(PROMPTS, LONG, LONG_SEEDS, [])
    killer.join()
    assert disturbed == undisturbed
    sent_again = engine.num_sent_again - before
    assert 0 < sent_again <= victim.num_running + sum(map(len, LONG_SEEDS))
    assert not victim.is_ready

    # The weights move on while it is away: what it loads must be these.
    move(policy, 3)
    engine.update_weights(policy, 3)
    assert other.is_ready
    while not victim.is_ready:
        time.sleep(0.5)
        served_while_down.append(victim.num_running > 0)
        completions = engine.generate(PROMPTS, PARAMS, SEEDS, [STOP])
        assert {c.weight_version for row in completions for c in row} == {3}
        assert len(served_while_down) < 400
    assert not any(served_while_down)
    with pytest.MonkeyPatch.context() as only_the_victim:
        only_the_victim.setattr(other, "is_ready", False)
        assert gap(policy, engine.generate(PROMPTS, PARAMS, SEEDS, [STOP]), 1.0) < 1e-4


def test_weights_that_change_midway_are_told_apart_token_by_token(engine: VLLMServerEngine, policy: Policy) -> None:
    results: list[list[list[Completion]]] = []
    thread = threading.Thread(target=lambda: results.append(engine.generate(PROMPTS, LONG, MANY_SEEDS, [])))
    thread.start()
    wait_until(lambda: all(server.num_running > 2 for server in servers_of(engine)), 20)
    time.sleep(0.3)
    move(policy, 4)
    engine.update_weights(policy, 4)
    thread.join()
    mixed = [(p, c) for p, row in enumerate(results[0]) for c in row if c.token_versions]
    assert mixed
    for p, completion in mixed[::6]:
        assert completion.weight_version == 3
        assert set(completion.token_versions) == {3, 4}
        assert list(completion.token_versions) == sorted(completion.token_versions)
        assert len(completion.token_versions) == len(completion.token_ids)
        # Keys and values were computed anew, so the later tokens are those of the new weights given the whole text.
        ours = policy.token_logprobs([PROMPTS[p].token_ids], [completion.token_ids], 1.0)[0]
        by_version = {3: 0.0, 4: 0.0}
        for version, a, b in zip(completion.token_versions, ours, completion.logprobs, strict=True):
            by_version[version] = max(by_version[version], abs(a - b))
        assert by_version[4] < 1e-4 < by_version[3]


@contextmanager
def nobody_looks(engine: VLLMServerEngine) -> Iterator[None]:
    """Keep the engine's caretakers from mending what the test breaks."""
    assert engine._fleet is not None
    assert engine._fleet.pool is not None
    engine._fleet.pool.is_updating = True
    try:
        yield
    finally:
        engine._fleet.pool.is_updating = False


def key_of(engine: VLLMServerEngine) -> str:
    assert engine._fleet is not None
    assert engine._fleet._opened is not None
    return engine._fleet._opened.api_key


def test_servers_that_another_trainer_took_over_are_not_used_until_they_have_these_weights_again(
    engine: VLLMServerEngine, policy: Policy, tmp_path: Path
) -> None:
    urls = [server.url for server in servers_of(engine)]
    other = VLLMServerEngine(urls=urls, api_key=key_of(engine), weights_dir=str(tmp_path))
    other_policy = make_policy(Path(policy.config.path))
    before = engine.num_sent_again
    with nobody_looks(engine):
        other.update_weights(other_policy, 4)
        assert gap(other_policy, other.generate(PROMPTS, PARAMS, SEEDS, [STOP]), 1.0) < 1e-4
        other.close()
        results: list[list[list[Completion]]] = []
        thread = threading.Thread(target=lambda: results.append(engine.generate(PROMPTS, PARAMS, SEEDS, [STOP])))
        thread.start()
        wait_until(lambda: not any(server.is_ready for server in servers_of(engine)), 20)
        assert all("holds weights" in server.problem for server in servers_of(engine))
        assert not results
    thread.join()
    assert engine.num_sent_again > before
    assert gap(policy, results[0], 1.0) < 1e-4
    assert gap(other_policy, results[0], 1.0) > 1e-2
    assert list(tmp_path.iterdir()) == []


def test_the_servers_want_the_key(engine: VLLMServerEngine, policy: Policy, tmp_path: Path) -> None:
    stranger = VLLMServerEngine(urls=[servers_of(engine)[0].url], weights_dir=str(tmp_path))
    with pytest.raises(PermissionError, match="refused the API key"):
        stranger.update_weights(policy, 0)


def test_two_ranks_share_servers_that_the_first_one_drives(engine: VLLMServerEngine, policy: Policy, tmp_path: Path) -> None:
    urls = [server.url for server in servers_of(engine)]
    script = Path(__file__).with_name("server_ranks_worker.py")
    with nobody_looks(engine):
        arguments = [str(policy.config.path), str(tmp_path), key_of(engine), *urls]
        ranks = [subprocess.Popen([sys.executable, script, str(rank), *arguments]) for rank in range(2)]
        assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    gaps = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert all(each["gap"] < 1e-4 and each["versions"] == [1] for each in gaps)
    assert gaps[0]["tokens"] == gaps[1]["tokens"]
    assert "RuntimeError: the first rank could not update" in gaps[1]["failure"]
    assert gaps[0]["failure"].startswith("OSError")


def test_a_real_server_tells_all_that_is_asked_at_the_first_contact(engine: VLLMServerEngine) -> None:
    client = servers_of(engine)[0].client
    config = client.ask("GET", "/server_info?config_format=json")["vllm_config"]
    assert config["device_config"]["device"] == "cpu"
    assert config["scheduler_config"]["enable_chunked_prefill"] is False
    assert client.facts().max_model_len == 1024
