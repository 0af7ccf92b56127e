"""One sandbox server as a client sees it: its connections, what it offers, and the three ways a request can fail."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Sequence
from queue import Empty, LifoQueue
from urllib.parse import urlsplit

from lit_rlvr.sandbox.access_token import authorization
from lit_rlvr.sandbox.base import Limits, Outcome
from lit_rlvr.sandbox.wire import HEALTH_PATH, HEARTBEAT_S, RUN_PATH, decode_response, encode_request

SILENCE_S = 15 * HEARTBEAT_S
"""Seconds without a byte after which a server is given up."""
QUEUE_ALLOWANCE_S = 600.0
"""Seconds a request may wait behind those of others, as long as the server keeps answering."""
MAX_ANSWER_BYTES = 1024**3


class ServerFailed(Exception):  # noqa: N818
    """A server did not answer, or not with outcomes: another one should be asked."""


class RemoteServer:
    """One server. Safe from any thread; connections are kept and used again.

    Args:
        url: `http://host:port`, or `https://`, with a path where a proxy wants one.
        token: the secret it asks for.
        connect_timeout_s: seconds a connection may take.
    """

    def __init__(self, url: str, token: str, connect_timeout_s: float) -> None:
        self.url = url
        self.num_running = 0
        """Requests it is working on for this client."""
        self.failed_at = -float("inf")
        """When it last failed, on the monotonic clock."""
        self.max_request_bytes: int | None = None
        """What it said it takes; None until it has answered for the first time."""
        self._address = urlsplit(url)
        self._headers = {"Authorization": authorization(token), "Content-Type": "application/json"}
        self._connect_timeout_s = connect_timeout_s
        self._idle: LifoQueue[http.client.HTTPConnection] = LifoQueue()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Ask for the first time whether this is a sandbox server that knows the token.

        Raises:
            ValueError: the URL leads to something else, or its host name does not exist.
            PermissionError: the token was refused.
            ServerFailed: nobody answered.
        """
        with self._lock:
            if self.max_request_bytes is not None:
                return
            try:
                status, body = self._exchange("GET", HEALTH_PATH, None, self._connect_timeout_s)
            except http.client.HTTPException as error:
                raise self._wrong_url(f"it does not speak HTTP: {type(error).__name__}") from None
            self._raise_for_mistakes(status, body)
            try:
                self.max_request_bytes = int(json.loads(body)["max_request_bytes"])
            except (KeyError, TypeError, ValueError):
                raise self._wrong_url(f"its {HEALTH_PATH} says {body[:80]!r}") from None

    def run(self, encoded_jobs: Sequence[bytes], limits: Limits) -> list[Outcome]:
        """Return the outcomes of the jobs.

        Raises:
            ValueError, PermissionError: as `check`, or a job is larger than the server takes.
            ServerFailed: no outcomes could be had.
        """
        self.num_running += 1  # only guides the choice of a server: a lost update does no harm
        try:
            self.check()
            return self._run(encoded_jobs, limits)
        except (ServerFailed, http.client.HTTPException) as error:
            self.failed_at = time.monotonic()
            raise ServerFailed(f"{self.url}: {error or type(error).__name__}") from error
        finally:
            self.num_running -= 1

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _run(self, encoded_jobs: Sequence[bytes], limits: Limits) -> list[Outcome]:
        body, largest = encode_request(encoded_jobs, limits), self.max_request_bytes or 0
        if len(body) > largest:
            raise ValueError(
                f"a job of {len(body)} bytes is more than {self.url} takes ({largest}): raise its --max_request_mb"
            )
        time_for_all = QUEUE_ALLOWANCE_S + 2 * len(encoded_jobs) * (limits.wall_s + 1)
        status, answer = self._exchange("POST", RUN_PATH, body, time_for_all)
        self._raise_for_mistakes(status, answer)
        try:
            return decode_response(answer, len(encoded_jobs))
        except ValueError as error:
            raise ServerFailed(f"not an answer: {error} in {answer.strip()[:200]!r}") from None

    def _raise_for_mistakes(self, status: int, body: bytes) -> None:
        if status in (401, 403):
            raise PermissionError(f"sandbox server {self.url} refused the token: both sides must read the same one")
        if status >= 500 or (status == 404 and self.max_request_bytes is not None):
            raise ServerFailed(f"HTTP {status} {body[:200]!r}")
        if status == 400:
            raise ValueError(f"sandbox server {self.url} does not understand this client: {body[:200]!r}")
        if status != 200:
            raise self._wrong_url(f"HTTP {status}")

    def _wrong_url(self, reason: str) -> ValueError:
        return ValueError(f"{self.url!r} is not a sandbox server ({reason}): give the address `lit-rlvr sandbox serve` printed")

    def _exchange(self, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        """Return status and body; a kept connection that has gone stale is replaced once."""
        try:
            connection, is_kept = self._idle.get_nowait(), True
        except Empty:
            connection, is_kept = self._connect(), False
        try:
            return self._ask(connection, method, path, body, timeout_s)
        except (ConnectionError, http.client.HTTPException) as error:
            if is_kept:
                self.close()  # the others are as old
                return self._exchange(method, path, body, timeout_s)
            if isinstance(error, ConnectionError):
                raise ServerFailed(f"connection lost: {error}") from None
            raise
        except OSError as error:
            raise ServerFailed(f"{type(error).__name__}: {error}") from None

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._address.hostname or "", self._address.port, timeout=self._connect_timeout_s)
        try:
            connection.connect()
        except socket.gaierror as error:
            if self.max_request_bytes is None and error.errno == socket.EAI_NONAME:
                raise self._wrong_url(f"no host of this name: {error.strerror}") from None
            raise ServerFailed(str(error)) from None
        except OSError as error:
            raise ServerFailed(f"cannot connect: {error}") from None
        connection.sock.settimeout(SILENCE_S)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> tuple[int, bytes]:
        deadline, parts, size = time.monotonic() + timeout_s, [], 0
        is_reusable = False
        try:
            connection.request(method, self._address.path.rstrip("/") + path, body, self._headers)
            response = connection.getresponse()
            while part := response.read1(1_048_576):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline or size > MAX_ANSWER_BYTES:
                    raise ServerFailed(f"no complete answer within {timeout_s:g} s and {MAX_ANSWER_BYTES} bytes")
            is_reusable = not response.will_close
            return response.status, b"".join(parts)
        finally:
            if is_reusable:
                self._idle.put(connection)
            else:
                connection.close()
