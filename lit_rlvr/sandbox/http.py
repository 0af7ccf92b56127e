"""A sandbox on other machines."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from lit_rlvr.sandbox.access_token import read_token
from lit_rlvr.sandbox.base import Job, Limits, Outcome, Sandbox, SandboxUnavailable
from lit_rlvr.sandbox.job import check_arguments, why_rejected
from lit_rlvr.sandbox.remote_server import RemoteServer, ServerFailed
from lit_rlvr.sandbox.wire import encode_job

RETRY_WAIT_S = 1.0
"""Seconds before the servers are asked for the second and last time."""
AVOIDANCE_S = 10.0
"""Seconds during which a server that failed is asked only after all others."""

_logger = logging.getLogger(__name__)


class HTTPSandbox(Sandbox):
    """Runs programs on servers started with `lit-rlvr sandbox serve`, which confine them as LocalSandbox does.

    An outage is never a verdict: jobs of a server that fails go to the others, and what no server could run is `infra`. A mistake
    in the configuration raises: a refused token, a URL that leads to something else, and no server at all at the first use.
    The token is read at the first use, from `token_file` or the environment variable LIT_RLVR_SANDBOX_TOKEN.

    Args:
        urls: addresses of the servers, `http://host:port`. Plain HTTP is for this machine and trusted networks.
        token_file: file with the token; empty for the environment variable.
        num_connections: requests at once to each server. More than its workers only fills its queue.
        max_jobs_per_request: jobs sent together at most. Small ones balance better between servers, large ones cost less.
        connect_timeout_s: seconds a connection may take before the server counts as down.
    """

    def __init__(
        self,
        urls: list[str],
        token_file: str = "",
        num_connections: int = 16,
        max_jobs_per_request: int = 8,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.urls = list(urls)
        self.token_file = token_file
        self.num_connections = num_connections
        self.max_jobs_per_request = max_jobs_per_request
        self.connect_timeout_s = connect_timeout_s
        if not self.urls:
            raise ValueError("urls is empty: name at least one sandbox server")
        for url in self.urls:
            _check_url(url)
        for name in ("num_connections", "max_jobs_per_request", "connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        self._lock = threading.Lock()
        self._process_id = os.getpid()
        self._servers: list[RemoteServer] = []
        self._threads: ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[type["HTTPSandbox"], tuple[object, ...]]:
        """Make copies and pickles carry the configuration only, without the token."""
        settings = (self.urls, self.token_file, self.num_connections, self.max_jobs_per_request, self.connect_timeout_s)
        return HTTPSandbox, settings

    def run(self, jobs: Sequence[Job], limits: Limits) -> list[Outcome]:
        """Run the jobs on the servers; see the class for what raises and what is `infra`.

        Raises:
            ValueError: a URL is no sandbox server, there is no token, a job is larger than a server takes, or its arguments are
                not a JSON list.
            PermissionError: a server refused the token.
            SandboxUnavailable: no server answered at the first use.
        """
        for job in jobs:
            check_arguments(job)
        servers, threads = self._started()
        reasons = [why_rejected(job, limits) for job in jobs]
        encoded = [encode_job(job) for job, reason in zip(jobs, reasons, strict=True) if not reason]
        futures = [threads.submit(_run_part, servers, part, limits) for part in self._parts(encoded, servers)]
        try:
            outcomes = iter([outcome for future in futures for outcome in future.result()])
        finally:
            for future in futures:
                future.cancel()
        return [Outcome("rejected", detail=reason) if reason else next(outcomes) for reason in reasons]

    def close(self) -> None:
        """Close the connections; the servers stay. The next `run` connects again."""
        if self._process_id != os.getpid():
            return
        with self._lock:
            servers, threads = self._servers, self._threads
            self._servers, self._threads = [], None
        if threads is not None:
            threads.shutdown()
        for server in servers:
            server.close()

    def _started(self) -> tuple[list[RemoteServer], ThreadPoolExecutor]:
        if self._process_id != os.getpid():  # a fork shares neither threads nor connections with its parent
            self._lock, self._process_id = threading.Lock(), os.getpid()
            self._servers, self._threads = [], None
        with self._lock:
            if self._threads is None:
                self._servers = self._reached()
                self._threads = ThreadPoolExecutor(len(self.urls) * self.num_connections, thread_name_prefix="http-sandbox")
            return self._servers, self._threads

    def _reached(self) -> list[RemoteServer]:
        """Return the servers, at least one of which has answered."""
        token, problems = read_token(self.token_file), []
        servers = [RemoteServer(url, token, self.connect_timeout_s) for url in self.urls]
        for server in servers:
            try:
                server.check()
            except ServerFailed as error:
                problems.append(f"{server.url} ({error})")
                server.failed_at = time.monotonic()
        if len(problems) == len(servers):
            raise SandboxUnavailable(
                f"no sandbox server answers: {', '.join(problems)}; start one with `lit-rlvr sandbox serve`"
            )
        for problem in problems:
            _logger.warning("sandbox server down, going on without it: %s", problem)
        return servers

    def _parts(self, encoded_jobs: Sequence[bytes], servers: Sequence[RemoteServer]) -> Iterator[list[bytes]]:
        """Split the jobs into requests: small enough for every server, and enough of them to keep all busy."""
        most_jobs = min(self.max_jobs_per_request, -(-len(encoded_jobs) // (len(servers) * self.num_connections)))
        most_bytes = min(server.max_request_bytes or 0 for server in servers if server.max_request_bytes) // 2
        part: list[bytes] = []
        for job in encoded_jobs:
            if part and (len(part) == most_jobs or sum(map(len, part)) + len(job) > most_bytes):
                yield part
                part = []
            part.append(job)
        if part:
            yield part


def _run_part(servers: Sequence[RemoteServer], encoded_jobs: Sequence[bytes], limits: Limits) -> list[Outcome]:
    """Run jobs on the first server that can; `infra` for those that none could run in two rounds."""
    outcomes = [Outcome("infra", detail="no sandbox server could run the program")] * len(encoded_jobs)
    waiting = list(range(len(encoded_jobs)))
    for server in _in_turn(servers):
        try:
            answers = server.run([encoded_jobs[i] for i in waiting], limits)
        except ServerFailed as error:
            answers = [Outcome("infra", detail=f"sandbox server {error}")] * len(waiting)
        for i, answer in zip(waiting, answers, strict=True):
            outcomes[i] = answer
        waiting = [i for i in waiting if outcomes[i].status == "infra"]
        if not waiting:
            break
        server.failed_at = time.monotonic()
    return outcomes


def _in_turn(servers: Sequence[RemoteServer]) -> Iterator[RemoteServer]:
    """Yield the servers twice, with a pause between the rounds: those at fault last, the least busy ones first."""

    def preference(server: RemoteServer) -> tuple[bool, int]:
        return time.monotonic() - server.failed_at < AVOIDANCE_S, server.num_running

    yield from sorted(servers, key=preference)
    time.sleep(RETRY_WAIT_S)
    yield from sorted(servers, key=preference)


def _check_url(url: str) -> None:
    address = urlsplit(url)
    try:
        is_valid = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or address.query or address.fragment or address.username:
        raise ValueError(f"{url!r} is not the URL of a sandbox server; write http://host:port")
