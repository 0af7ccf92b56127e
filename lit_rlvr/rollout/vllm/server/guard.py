"""Runs inside a vLLM server: without the key, nobody asks anything of it."""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class RequireKey:
    """ASGI middleware, for vLLM's `--middleware`: every path but `/health` wants `Authorization: Bearer KEY`.

    vLLM's own `--api-key` leaves the endpoints open that replace the weights. The key is that of the environment variable
    VLLM_API_KEY; without one everything stays open.

    Args:
        app: the server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        key = os.environ.get("VLLM_API_KEY", "")
        self._expected = f"Bearer {key}".encode() if key else b""

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or not self._expected or scope["path"] == "/health" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"error": "the key is missing or wrong"}'})

    def _is_allowed(self, scope: Message) -> bool:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        return hmac.compare_digest(given, self._expected)
