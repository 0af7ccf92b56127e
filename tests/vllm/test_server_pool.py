"""Who is asked, who is asked instead, and when it is over. Servers are scripted, so that they fail when the test wants it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_server import ScriptedServer
from server_cases import wait_until

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.caretaker import Caretaker
from lit_rlvr.rollout.vllm.server.client import ServerClient
from lit_rlvr.rollout.vllm.server.generation import Generated, GenerateRequest
from lit_rlvr.rollout.vllm.server.labels import Labels
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool

LABEL = "run/1/7"


def request(seed: int) -> GenerateRequest:
    return GenerateRequest((1, 2), SamplingParams(max_tokens=2), seed, (3,), f"request {seed}")


class Site:
    """Two scripted servers in a pool that wants the weights of update 1."""

    def __init__(self) -> None:
        self.scripts = [ScriptedServer(), ScriptedServer()]
        self.pool = ServerPool(
            [Server(ServerClient(script.url, request_timeout_s=10)) for script in self.scripts],
            Labels("run"),
            max_in_flight=4,
            max_retries=2,
            outage_timeout_s=1.5,
        )
        self.pool.update = 1
        self.caretakers: list[Caretaker] = []
        for script, server in zip(self.scripts, self.pool.servers, strict=True):
            script.label = LABEL
            self.pool.mark_ready(server)

    def look_after(self, repair: Callable[[Server], None] | None = None) -> None:
        self.caretakers = [Caretaker(server, self.pool, repair, startup_timeout_s=5) for server in self.pool.servers]
        for caretaker in self.caretakers:
            caretaker.start()

    def run(self, num: int, home: Callable[[int], int] = lambda i: i) -> list[Generated]:
        with ThreadPoolExecutor(16) as threads:
            never = threading.Event()
            return list(threads.map(lambda i: self.pool.run(request(i), home(i), never), range(num)))


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    for caretaker in site.caretakers:
        caretaker.stop()
    for script in site.scripts:
        script.stop()


def test_requests_are_spread_up_to_the_limit_of_each_server(site: Site) -> None:
    for script in site.scripts:
        script.delay_s = 0.05
    answers = site.run(24)
    assert [answer.token_ids for answer in answers] == [(i % 7, i % 5) for i in range(24)]
    assert [script.most_at_once for script in site.scripts] == [4, 4]


def test_requests_of_a_prompt_stay_together_while_the_load_allows(site: Site) -> None:
    site.run(4, home=lambda i: 1)
    assert [script.num_generated for script in site.scripts] == [0, 4]


def test_a_failing_server_is_left_out_and_its_requests_are_sent_again(site: Site) -> None:
    site.scripts[0].fails = True
    assert [answer.token_ids for answer in site.run(12)] == [(i % 7, i % 5) for i in range(12)]
    assert not site.pool.servers[0].is_ready
    assert 1 <= site.pool.num_sent_again <= 4


def test_older_weights_other_runs_and_no_weights_are_refused(site: Site) -> None:
    for label in ("run/0/7", "other/1/7", "default", "other/2/8"):
        site.scripts[0].label = label
        site.pool.mark_ready(site.pool.servers[0])
        before = site.scripts[1].num_generated
        site.run(2, home=lambda i: 0)
        assert site.scripts[1].num_generated == before + 2
        assert f"holds weights '{label}' instead of those of update 1 of run run" in site.pool.servers[0].problem


def test_labels_tell_runs_updates_and_versions_apart() -> None:
    labels = Labels("a1")
    assert (labels.update("a1/2/40"), labels.version("a1/2/40")) == (2, 40)
    assert [labels.version(label) for label in ("default", "b1/2/40", "a1b/2/40")] == [-1, -1, -1]
    assert labels.of(2, 40) == "a1/2/40"


def test_newer_weights_are_on_their_way_to_all(site: Site) -> None:
    site.scripts[0].label = "run/2/7"
    assert {answer.labels for answer in site.run(2, home=lambda i: 0)} == {("run/2/7", "run/2/7")}


def test_a_request_that_no_server_survives_ends_with_all_that_went_wrong(site: Site) -> None:
    for script in site.scripts:
        script.fails = True
    site.look_after()  # finds both well each time, since only generating fails
    with pytest.raises(RuntimeError) as error:
        site.run(1)
    assert "request 0: every vLLM server that tried failed (3 tries)" in str(error.value)
    assert all(script.url in str(error.value) for script in site.scripts)


def test_an_outage_of_all_ends_after_the_stated_time_and_names_each(site: Site) -> None:
    for server in site.pool.servers:
        site.pool.mark_down(server, f"was unplugged by {server.url[-1]}")
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"no vLLM server was fit to be asked for 1\.5 s") as error:
        site.run(1)
    assert 1.4 < time.monotonic() - started < 5
    assert all(f"{script.url} was unplugged by" in str(error.value) for script in site.scripts)


def test_an_outage_ends_at_once_when_nobody_will_come_back(site: Site) -> None:
    for server in site.pool.servers:
        site.pool.mark_down(server, "was sold", is_given_up=True)
    with pytest.raises(RuntimeError, match="no vLLM server is left"):
        site.run(1)


def test_a_server_that_comes_back_without_weights_gets_them_before_it_is_asked(site: Site) -> None:
    old = site.scripts[0]
    was_asked_before_repair: list[int] = []

    def repair(server: Server) -> None:
        was_asked_before_repair.append(new.num_generated)
        time.sleep(0.2)
        new.label = LABEL

    site.look_after(repair)
    old.stop()
    assert len(site.run(8)) == 8
    wait_until(lambda: "does not answer" in site.pool.servers[0].problem, 10)
    new = ScriptedServer(port=old.port)
    site.scripts[0] = new
    wait_until(lambda: site.pool.servers[0].is_ready, 10)
    assert was_asked_before_repair == [0]
    site.run(1, home=lambda i: 0)
    assert new.num_generated == 1


def test_a_repair_that_keeps_failing_is_given_up(site: Site) -> None:
    def repair(server: Server) -> None:
        raise ValueError("these are not the weights")

    site.scripts[0].label = "default"
    site.look_after(repair)
    site.pool.servers[0].needs_attention.set()
    wait_until(lambda: site.pool.servers[0].is_given_up, 10)
    assert "these are not the weights (3 times in a row: given up)" in site.pool.servers[0].problem
    assert site.pool.servers[1].is_ready


def test_nobody_looks_at_a_server_while_weights_are_changed(site: Site) -> None:
    repaired: list[str] = []
    site.pool.is_updating = True
    site.scripts[0].label = "default"
    site.look_after(lambda server: repaired.append(server.url))
    for server in site.pool.servers:
        server.needs_attention.set()
    time.sleep(1.5)
    assert site.pool.servers[0].is_ready
    assert not repaired


def test_a_cancelled_request_does_not_wait_for_a_server(site: Site) -> None:
    for script in site.scripts:
        script.delay_s = 3
    is_cancelled = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(site.pool.run, request(0), 0, is_cancelled)
        time.sleep(0.3)
        is_cancelled.set()
        site.pool.abort()
        with pytest.raises(RuntimeError, match="cancelled"):
            future.result(timeout=2)


def test_who_waits_for_a_server_fails_when_the_engine_is_closed(site: Site) -> None:
    site.pool.outage_timeout_s = 60
    for server in site.pool.servers:
        site.pool.mark_down(server, "is away")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(site.pool.run, request(0), 0, threading.Event())
        time.sleep(0.2)
        assert not waiting.done()
        site.pool.close()
        with pytest.raises(RuntimeError, match="the engine was closed"):
            waiting.result(timeout=5)
