"""Settings that contradict each other are refused where they are written, and the guard of launched servers wants its key."""

import asyncio
from typing import Any

import pytest

from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.rollout.vllm.server.guard import RequireKey


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "launch: true launches servers, .*neither is set"),
        ({"launch": True, "urls": ["http://a:1"]}, "both are set"),
        ({"urls": ["http://a:1"]}, "weights_dir is not set"),
        ({"urls": ["http://a:1"], "weights_dir": "/w", "num_servers": 2}, "num_servers is for launched servers"),
        ({"launch": True, "num_servers": 0}, "num_servers must be positive"),
        ({"launch": True, "max_retries": -1}, "max_retries must be 0 or positive"),
        ({"launch": True, "num_servers": 2, "devices": [[0]]}, "devices has 1 lists for num_servers=2"),
        ({"launch": True, "server_args": {"logprobs-mode": "raw_logprobs"}}, "server_args.logprobs-mode is not yours to set"),
        ({"launch": True, "server_args": {"port": 1}}, "set first_port"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VLLMServerEngine(**settings)


def test_an_engine_without_weights_says_so() -> None:
    engine = VLLMServerEngine(launch=True)
    assert engine.can_overlap
    assert engine.can_update_midway
    assert engine.weight_version == -1
    assert engine.num_sent_again == 0
    assert "api_key" not in repr(engine.settings)
    engine.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/health", [], 200),
        ("/collective_rpc", [], 401),
        ("/collective_rpc", [(b"authorization", b"Bearer wrong")], 401),
        ("/collective_rpc", [(b"authorization", b"Bearer key")], 200),
    ],
)
def test_the_guard_covers_everything_but_health(
    monkeypatch: pytest.MonkeyPatch, path: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "key")
    assert answer(path, headers) == status
    monkeypatch.delenv("VLLM_API_KEY")
    assert answer(path, headers) == 200


def answer(path: str, headers: list[tuple[bytes, bytes]]) -> int:
    statuses: list[int] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(RequireKey(server)({"type": "http", "path": path, "headers": headers}, receive, send))
    return statuses[0]
