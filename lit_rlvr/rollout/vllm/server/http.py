"""HTTP to one vLLM server: JSON in, JSON out, and the three ways a request can fail."""

import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 10.0
"""Seconds a connection may take before the server counts as down."""


class ServerFailed(Exception):  # noqa: N818
    """A server did not answer, or not as it should: another one should be asked."""


class UnknownHost(ServerFailed):
    """The address names no machine."""


class ServerHTTP:
    """The requests of one process to one server, each over a connection of its own. Safe from any thread.

    Args:
        url: `http://host:port`, or `https://`, with a path where a proxy wants one.
        api_key: the key the server asks for; empty for none.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url.rstrip("/")
        self._address = _checked_address(url)
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: object | None = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return the JSON object that the server answers.

        Args:
            method: GET or POST.
            path: below the server's address, with the query.
            body: sent as JSON.
            timeout_s: seconds the server may be silent.

        Raises:
            PermissionError: the key was refused.
            ValueError: the server does not know the path, or refuses what is asked.
            ServerFailed: nobody answers, or the server is in trouble.
        """
        data = None if body is None else json.dumps(body).encode()
        status, text = self._exchange(method, path, data, timeout_s)
        if status == 401:
            raise PermissionError(
                f"vLLM server {self.url} refused the API key: set data.engine.init_args.api_key to the server's"
            )
        if status in (400, 403, 404, 405, 422):
            raise ValueError(f"vLLM server {self.url} refused {method} {path}: HTTP {status} {text[:500]!r}")
        if status != 200:
            raise ServerFailed(f"{method} {path}: HTTP {status} {text[:500]!r}")
        try:
            answer = json.loads(text) if text else {}
        except ValueError:
            raise ServerFailed(f"{method} {path}: not JSON: {text[:200]!r}") from None
        if not isinstance(answer, dict):
            raise ServerFailed(f"{method} {path}: not a JSON object: {text[:200]!r}")
        return answer

    def abort(self) -> None:
        """Break every connection that waits for an answer: the server drops those requests, and their callers get `ServerFailed`."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            try:
                # Unlike close, a shutdown wakes the thread that reads.
                connection.sock.shutdown(socket.SHUT_RDWR)
            except (AttributeError, OSError):
                continue

    def _exchange(self, method: str, path: str, data: bytes | None, timeout_s: float) -> tuple[int, str]:
        secure = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._address.hostname or "", self._address.port, timeout=CONNECT_TIMEOUT_S)
        with self._lock:
            self._open.add(connection)
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            _watch(connection.sock)
            connection.request(method, self._address.path.rstrip("/") + path, data, self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except TimeoutError:
            raise ServerFailed(f"{method} {path}: no answer within {timeout_s:g} s") from None
        except socket.gaierror as error:
            raise UnknownHost(f"no host {self._address.hostname!r}: {error.strerror}") from None
        except (OSError, http.client.HTTPException) as error:
            raise ServerFailed(f"{method} {path}: {type(error).__name__}: {error}") from None
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _watch(connection: socket.socket) -> None:
    """Let the kernel ask, while a long answer is awaited, whether the other machine is still there: it may lose its power."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6)):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _checked_address(url: str) -> Any:
    address = urlsplit(url)
    try:
        is_valid = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or address.query or address.fragment or address.username:
        raise ValueError(f"{url!r} in data.engine.init_args.urls is not the address of a server; write http://host:port")
    return address
