"""What a client says of servers that are not there, not what they should be, or in trouble. Servers are scripted."""

import socket
import threading
from collections.abc import Iterator

import pytest
from scripted_server import ScriptedServer

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.client import ServerClient
from lit_rlvr.rollout.vllm.server.generation import GenerateRequest
from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.process import free_port

REQUEST = GenerateRequest((1, 2), SamplingParams(max_tokens=2), 2**63 - 1, (3,), "prompt 'a', member 0")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def client(server: ScriptedServer) -> ServerClient:
    return ServerClient(server.url, request_timeout_s=5)


def test_a_server_tells_what_it_is(client: ServerClient) -> None:
    facts = client.facts()
    assert (facts.version, facts.dtype, facts.max_model_len, facts.world_size) == ("0.32.0", "float32", 64, 1)


def test_floats_come_as_they_were_computed(server: ScriptedServer, client: ServerClient) -> None:
    server.logprob = -1.2345678806304932
    assert client.generate(REQUEST).logprobs == (-1.2345678806304932,) * 2


def test_nobody_at_the_port() -> None:
    with pytest.raises(ServerFailed, match="ConnectionRefused"):
        ServerClient(f"http://127.0.0.1:{free_port()}").facts()


def test_no_such_host() -> None:
    with pytest.raises(ValueError, match=r"is not a vLLM server: no host 'no-such-host\.invalid'"):
        ServerClient("http://no-such-host.invalid:80").facts()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a:1", "http://", "http://a:0", "http://a:1?x=2", "http://u:p@a:1"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"data\.engine\.init_args\.urls is not the address"):
        ServerClient(url)


def test_another_service_at_the_port() -> None:
    """One that closes, or greets in its own protocol, and one that speaks HTTP but is something else."""
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        connection, _ = listener.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        connection.close()

    threading.Thread(target=greet, daemon=True).start()
    with pytest.raises(ValueError, match="is not a vLLM server"):
        ServerClient(f"http://127.0.0.1:{listener.getsockname()[1]}").facts()
    listener.close()


def test_another_web_server_at_the_port(server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="is not a vLLM server"):
        ServerClient(server.url + "/elsewhere").facts()


@pytest.mark.parametrize("version", ["0.31.2", "0.34.0", "what"])
def test_a_version_that_is_not_supported(server: ScriptedServer, client: ServerClient, version: str) -> None:
    server.version = version
    with pytest.raises(ValueError, match=rf"runs vLLM {version}; this engine is written for vllm>=0\.32"):
        client.facts()


def test_a_server_started_without_its_flags_says_which(server: ScriptedServer, client: ServerClient) -> None:
    server.config["model_config"]["logprobs_mode"] = "raw_logprobs"
    with pytest.raises(ValueError, match=r"its log-probs are raw_logprobs.*--logprobs-mode processed_logprobs"):
        client.facts()
    server.config["model_config"]["logprobs_mode"] = "processed_logprobs"
    server.config["scheduler_config"]["enable_chunked_prefill"] = True
    with pytest.raises(ValueError, match=r"CPU build dies .*--no-enable-chunked-prefill"):
        client.facts()
    server.config["scheduler_config"]["enable_chunked_prefill"] = False
    server.config["parallel_config"]["worker_extension_cls"] = ""
    with pytest.raises(ValueError, match=r"cannot take over weights.*--worker-extension-cls"):
        client.facts()
    server.config["parallel_config"]["worker_extension_cls"] = "lit_rlvr.rollout.vllm.sync.worker.WorkerExtension"
    server.refuses_scale_out = True
    with pytest.raises(ValueError, match=r"403.*--enable-scale-out"):
        client.facts()
    server.refuses_scale_out = False
    server.config.clear()
    with pytest.raises(ValueError, match="VLLM_SERVER_DEV_MODE=1"):
        client.facts()


def test_a_server_in_trouble_is_no_mistake_of_the_user(server: ScriptedServer, client: ServerClient) -> None:
    server.fails = True
    with pytest.raises(ServerFailed, match=r"HTTP 500.*the engine is dead"):
        client.generate(REQUEST)


def test_log_probs_that_are_no_numbers_are_not_taken(server: ScriptedServer, client: ServerClient) -> None:
    server.logprob = -9999.0
    with pytest.raises(FloatingPointError, match="prompt 'a', member 0: token 0 of 2"):
        client.generate(REQUEST)


def test_a_silent_server_is_given_up(server: ScriptedServer) -> None:
    server.delay_s = 3
    with pytest.raises(ServerFailed, match=r"no answer within 0\.3 s"):
        ServerClient(server.url, request_timeout_s=0.3).generate(REQUEST)


def test_an_abort_wakes_who_waits(server: ScriptedServer, client: ServerClient) -> None:
    server.delay_s = 4
    threading.Timer(0.3, client.abort).start()
    with pytest.raises(ServerFailed):
        client.generate(REQUEST)
