"""`lit-rlvr sandbox serve`: the sandbox of this machine for others, over HTTP with a token."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from http.server import ThreadingHTTPServer
from types import FrameType

from lit_rlvr.sandbox.access_token import TOKEN_VARIABLE, read_token
from lit_rlvr.sandbox.base import Job, Limits, Outcome, Sandbox, SandboxUnavailable
from lit_rlvr.sandbox.local import LocalSandbox
from lit_rlvr.sandbox.request_handler import RequestHandler

MAX_REQUESTS = 128
"""Requests at work at once; more are refused, and the client turns to another server."""
MAX_CONNECTIONS = 512
STOP_GRACE_S = 60.0
"""Seconds a stopping server gives the requests it has accepted."""
MOST: dict[str, float | int] = {
    "cpu_s": 60.0,
    "wall_s": 180.0,
    "memory_mb": 4096,
    "output_bytes": 16 * 1024**2,
    "stderr_bytes": 1024**2,
    "code_bytes": 4 * 1024**2,
}
"""The caps when nothing else is asked for."""


class SandboxServer(ThreadingHTTPServer):
    """Serves a sandbox until it is shut down.

    Args:
        address: host and port; port 0 takes a free one.
        sandbox: runs the programs.
        token: what a client must know.
        caps: the most a client may ask for; larger limits are cut to these.
        max_request_bytes: size of the largest request.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], sandbox: Sandbox, token: str, caps: Limits, max_request_bytes: int) -> None:
        self.token = token
        self.max_request_bytes = max_request_bytes
        self.offer: dict[str, object] = {"max_request_bytes": max_request_bytes, "limits": vars(caps)}
        self.is_stopping = False
        self._sandbox = sandbox
        self._caps = caps
        self._executor = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="sandbox-request")
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._num_accepted = 0
        self._changed = threading.Condition()
        super().__init__(address, RequestHandler)

    @contextmanager
    def accepting(self, jobs: Sequence[Job], limits: Limits) -> Iterator["Future[list[Outcome]] | None"]:
        """Run the jobs, and count the request as accepted until the block ends; None when it is refused."""
        with self._changed:
            is_refused = self.is_stopping or self._num_accepted >= MAX_REQUESTS
            self._num_accepted += not is_refused
        if is_refused:
            yield None
            return
        try:
            yield self._executor.submit(self._sandbox.run, jobs, smaller(limits, self._caps))
        finally:
            with self._changed:
                self._num_accepted -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Refuse new requests, finish the accepted ones, and leave `serve_forever`. Not to be called from its thread."""
        with self._changed:
            self.is_stopping = True
            self._changed.wait_for(lambda: not self._num_accepted, STOP_GRACE_S)
        self.shutdown()

    def process_request(self, request: object, client_address: object) -> None:
        """Give a connection a thread, while there are any left."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._connections.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Report bugs; a client that went away is none."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def smaller(limits: Limits, caps: Limits) -> Limits:
    """Return the smaller of each limit.

    >>> smaller(Limits(cpu_s=2, memory_mb=4096), Limits(cpu_s=60, memory_mb=1024)).memory_mb
    1024
    """
    return Limits(**{field.name: min(getattr(limits, field.name), getattr(caps, field.name)) for field in fields(Limits)})


def serve(args: list[str]) -> None:
    """Run `lit-rlvr sandbox serve` until SIGTERM or SIGINT; programs that were accepted are finished first."""
    parser = _parser()
    settings = parser.parse_args(args)
    try:
        token = read_token(settings.token_file)
        caps = Limits(**{field.name: getattr(settings, f"max_{field.name}") for field in fields(Limits)})
        sandbox = LocalSandbox(settings.num_workers, settings.isolation)
        server = SandboxServer((settings.host, settings.port), sandbox, token, caps, settings.max_request_mb * 1024**2)
    except (OSError, OverflowError, ValueError) as error:
        parser.error(str(error))
    try:
        _serve(server, sandbox)
    except SandboxUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    finally:
        server.server_close()
        sandbox.close()


def _serve(server: SandboxServer, sandbox: Sandbox) -> None:
    def stop(signal_number: int, frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait
        threading.Thread(target=server.stop).start()

    (first,) = sandbox.run([Job("print(1)")], Limits())
    if first.status != "ok":
        raise SandboxUnavailable(f"the sandbox of this machine does not work: {first.status} ({first.detail})")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    host, port = str(server.server_address[0]), server.server_port
    sys.stderr.write(f"serving programs on http://{host}:{port}\n")
    if host not in ("127.0.0.1", "::1"):
        sys.stderr.write("The token travels in plain text: keep this port inside a trusted network or behind TLS.\n")
    sys.stderr.flush()
    server.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lit-rlvr sandbox serve",
        description="Run programs for HTTPSandbox clients on other machines. Every request must carry a token, which is read from "
        f"--token_file or the environment variable {TOKEN_VARIABLE}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
    parser.add_argument("--port", type=int, default=8700, help="Port to listen on; 0 takes a free one.")
    parser.add_argument("--token_file", default="", help="File with the token.")
    parser.add_argument("--num_workers", type=int, default=None, help="Programs run at once; one for each core when not given.")
    parser.add_argument("--isolation", default="strongest", help="As LocalSandbox.")
    parser.add_argument("--max_request_mb", type=int, default=64, help="Size of the largest request in MiB.")
    for field in fields(Limits):
        default = MOST[field.name]
        parser.add_argument(
            f"--max_{field.name}", type=type(default), default=default, help=f"Most {field.name} a client gets."
        )
    return parser
