"""One connection to a sandbox server: who may ask, how much, and the answer."""

import json
import logging
import socket
from concurrent.futures import Future, wait
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast

from lit_rlvr.sandbox.access_token import is_authorized
from lit_rlvr.sandbox.base import Outcome
from lit_rlvr.sandbox.wire import HEALTH_PATH, HEARTBEAT_S, RUN_PATH, decode_request, encode_response

if TYPE_CHECKING:
    from lit_rlvr.sandbox.server import SandboxServer

CONNECTION_TIMEOUT_S = 60.0
"""Seconds a connection may stay silent, between requests or inside one."""
UNREAD_TIMEOUT_S = 1.0
UNREAD_BYTES = 64 * 1024**2
"""How long, and up to what size, the rest of a refused request is read and dropped."""

_logger = logging.getLogger(__name__)


class RequestHandler(BaseHTTPRequestHandler):
    """Answers `POST /run` (with the token) and `GET /health`."""

    protocol_version = "HTTP/1.1"
    server_version = "lit-rlvr-sandbox"
    sys_version = ""
    timeout = CONNECTION_TIMEOUT_S
    disable_nagle_algorithm = True

    @property
    def _sandbox_server(self) -> "SandboxServer":
        return cast("SandboxServer", self.server)

    def do_GET(self) -> None:
        """Answer a health check: without a token only that the server is up, with it also what it offers."""
        header = self.headers.get("Authorization")
        if self.path != HEALTH_PATH:
            self._refuse(404, f"no such path; programs go to {RUN_PATH}")
        elif self._sandbox_server.is_stopping:
            self._refuse(503, "the server is stopping")
        elif header is None:
            self._answer(200, {"status": "ok"})
        elif not self._is_authorized():
            self._refuse(401, "the token was refused")
        else:
            self._answer(200, {"status": "ok", **self._sandbox_server.offer})

    def do_POST(self) -> None:
        """Run the jobs of a request."""
        if self.path != RUN_PATH:
            self._refuse(404, f"no such path; programs go to {RUN_PATH}")
        elif not self._is_authorized():
            self._refuse(401, "the token was refused")
        elif (body := self._body()) is not None:
            self._run(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the request line is not ours to print."""

    def _is_authorized(self) -> bool:
        return is_authorized(self.headers.get("Authorization"), self._sandbox_server.token)

    def _body(self) -> bytes | None:
        """Return the body, or None once the request has been refused."""
        length, limit = self.headers.get("Content-Length", ""), self._sandbox_server.max_request_bytes
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            self._refuse(411, "a Content-Length is needed")
        elif int(length) > limit:
            self._refuse(413, f"a request may have {limit} bytes, this one has {length}")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def _run(self, body: bytes) -> None:
        try:
            jobs, limits = decode_request(body)
        except ValueError as error:
            self._refuse(400, f"not a request this server understands: {error}")
            return
        with self._sandbox_server.accepting(jobs, limits) as future:
            if future is None:
                self._refuse(503, "the server is stopping or full")
                return
            self._answer_when_done(future)

    def _answer_when_done(self, future: "Future[list[Outcome]]") -> None:
        """Send blanks while the programs run, which JSON ignores, and then the outcomes."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not wait([future], HEARTBEAT_S).done:
            self._send_chunk(b" ")
        error = future.exception()
        if error:
            _logger.error("the sandbox failed: %s: %s", type(error).__name__, error)
        self._send_chunk(_json({"error": str(error)}) if error else encode_response(future.result()))
        self.wfile.write(b"0\r\n\r\n")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _refuse(self, code: int, reason: str) -> None:
        """Answer with an error and end the connection, whose request may not have been read."""
        self.close_connection = True
        self._answer(code, {"error": reason})
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(UNREAD_TIMEOUT_S)
        for _ in range(UNREAD_BYTES // 65_536):  # a client that is still sending would lose the answer in a reset
            if not self.rfile.read1(65_536):
                return

    def _answer(self, code: int, message: dict[str, object]) -> None:
        body = _json(message)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _json(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode("ascii")
