"""The servers of one engine as one: who is fit to be asked, who is asked next, and what happens to requests of a server that fails."""

import logging
import threading
import time
from collections.abc import Sequence

from lit_rlvr.rollout.vllm.server.client import ServerClient
from lit_rlvr.rollout.vllm.server.generation import Generated, GenerateRequest
from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.labels import Labels
from lit_rlvr.rollout.vllm.server.process import ServerProcess

HOME_ADVANTAGE = 8
"""Requests that a prompt's own server may have more than the idlest one and still be asked: it knows the prompt."""
LOOK_S = 1.0
"""Seconds between two looks of those who wait for a server."""

_logger = logging.getLogger(__name__)


class Server:
    """One server: its client, its process when it was launched here, and how it stands.

    Args:
        client: asks it.
        process: None for a server that somebody else started.
    """

    def __init__(self, client: ServerClient, process: ServerProcess | None = None) -> None:
        self.client, self.process = client, process
        self.is_ready = False
        """True while it answers, and holds the current weights."""
        self.is_given_up = False
        """True once it will not be tried again."""
        self.problem = "has not been given weights yet"
        self.num_running = 0
        """Requests of this process that it is working on."""
        self.num_failures = 0
        """Requests of this process that it failed at."""
        self.update_lock = threading.Lock()
        """Held by whoever changes its weights, or looks at them."""
        self.needs_attention = threading.Event()
        """Set when something is wrong with it."""

    @property
    def url(self) -> str:
        """Its address."""
        return self.client.url

    def describe(self) -> str:
        """Say what is wrong with it, with the end of its log where there is one."""
        log = f", log {self.process.log_path}, which ends with\n{self.process.log_tail()}" if self.process else ""
        return f"  {self.url} {self.problem}{log}"


class ServerPool:
    """Distributes requests over servers. A request whose server fails is sent to another one, with the same seed.

    Args:
        servers: the servers.
        labels: tells which weights a label stands for.
        max_in_flight: most requests of this process at once to one server.
        max_retries: how often a request is sent again before it counts as one that no server survives.
        outage_timeout_s: seconds to wait for any server while none is fit.
    """

    def __init__(
        self, servers: Sequence[Server], labels: Labels, max_in_flight: int, max_retries: int, outage_timeout_s: float
    ) -> None:
        self.servers, self.labels = list(servers), labels
        self.max_in_flight, self.max_retries, self.outage_timeout_s = max_in_flight, max_retries, outage_timeout_s
        self.update = 0
        """Number of the update whose weights a server must hold; those of a later one are as good, they are on their way to all."""
        self.is_updating = False
        """True while the servers are given other weights: nobody else may."""
        self.num_sent_again = 0
        """Requests that were sent again so far."""
        self._changed = threading.Condition()
        self._is_closed = False

    def is_current(self, label: str) -> bool:
        """Tell whether weights of this label may be sampled from."""
        return self.labels.update(label) >= self.update

    def mark_ready(self, server: Server) -> None:
        """Let requests go to the server."""
        if not server.is_ready:
            _logger.info("vLLM server %s is ready", server.url)
        with self._changed:
            server.is_ready, server.is_given_up, server.problem = True, False, ""
            self._changed.notify_all()

    def mark_down(self, server: Server, problem: str, is_given_up: bool = False) -> None:
        """Send nothing more to the server, and what it is working on to others."""
        if problem != server.problem:
            _logger.warning("vLLM server %s %s", server.url, problem)
        with self._changed:
            server.is_ready, server.is_given_up, server.problem = False, is_given_up, problem
            self._changed.notify_all()
        server.client.abort()

    def run(self, request: GenerateRequest, home: int, is_cancelled: threading.Event) -> Generated:
        """Return what a fit server generates.

        Args:
            request: what to sample.
            home: number of the request's prompt; requests of a prompt go to the same server while the load allows.
            is_cancelled: set when nobody waits for the answer any more.

        Raises:
            RuntimeError: every server that tried failed, there was none for too long, or the request was cancelled.
            ValueError, FloatingPointError: as `ServerClient.generate`.
        """
        problems: list[str] = []
        while len(problems) <= self.max_retries:
            server = self._take(home, is_cancelled)
            update = self.update
            try:
                generated = server.client.generate(request)
                self.check_labels(generated, update)
                return generated
            except ServerFailed as error:
                if is_cancelled.is_set():
                    raise RuntimeError(f"{request.name}: cancelled") from None
                problems.append(f"{server.url}: {error}")
                self.suspect(server, f"failed: {error}")
            finally:
                self._give_back(server)
        raise RuntimeError(
            f"{request.name}: every vLLM server that tried failed ({len(problems)} tries):\n  " + "\n  ".join(problems) + "\n"
            f"the servers now:\n{self.describe()}"
        )

    def wait_until_any_is_ready(self) -> None:
        """Wait for a fit server.

        Raises:
            RuntimeError: there was none for too long, or there will be none.
        """
        deadline = time.monotonic() + self.outage_timeout_s
        with self._changed:
            while not any(server.is_ready for server in self.servers):
                self._check_hope(deadline)
                self._changed.wait(LOOK_S)

    def describe(self) -> str:
        """Say how each server stands."""
        return "\n".join(f"  {s.url} is ready" if s.is_ready else s.describe() for s in self.servers)

    def close(self) -> None:
        """Let everybody who waits for a completion fail, now and from now on."""
        self._is_closed = True
        self.abort()

    def abort(self) -> None:
        """Break the requests in progress, and wake up who waits for a server."""
        for server in self.servers:
            server.client.abort()
        with self._changed:
            self._changed.notify_all()

    def _take(self, home: int, is_cancelled: threading.Event) -> Server:
        """Return a fit server with room for one more request, waiting for one if need be."""
        deadline = time.monotonic() + self.outage_timeout_s
        with self._changed:
            while True:
                if is_cancelled.is_set() or self._is_closed:
                    raise RuntimeError("the engine was closed" if self._is_closed else "cancelled")
                ready = [server for server in self.servers if server.is_ready]
                free = [server for server in ready if server.num_running < self.max_in_flight]
                if free:
                    server = self._choose(free, home)
                    server.num_running += 1
                    return server
                if ready:
                    deadline = time.monotonic() + self.outage_timeout_s
                self._check_hope(deadline)
                self._changed.wait(LOOK_S)

    def _choose(self, free: Sequence[Server], home: int) -> Server:
        idlest = min(free, key=lambda server: server.num_running)
        own = self.servers[home % len(self.servers)]
        return own if own in free and own.num_running <= idlest.num_running + HOME_ADVANTAGE else idlest

    def _give_back(self, server: Server) -> None:
        with self._changed:
            server.num_running -= 1
            self._changed.notify_all()

    def suspect(self, server: Server, problem: str) -> None:
        """Send nothing more to the server until its caretaker has looked at it."""
        with self._changed:
            self.num_sent_again += 1
            server.num_failures += 1
            if server.is_ready:
                server.is_ready, server.problem = False, problem
                _logger.warning("vLLM server %s %s", server.url, problem)
        server.needs_attention.set()

    def check_labels(self, generated: Generated, update: int) -> None:
        """Refuse what was sampled from other weights than those of this run, brought by this update or a later one.

        Raises:
            ServerFailed: it was.
        """
        for label in dict.fromkeys(generated.labels):
            if self.labels.update(label) < update:
                raise ServerFailed(f"holds weights {label!r} instead of those of update {update} of run {self.labels.run}")

    def _check_hope(self, deadline: float) -> None:
        if all(server.is_given_up for server in self.servers):
            raise RuntimeError(f"no vLLM server is left:\n{self.describe()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no vLLM server was fit to be asked for {self.outage_timeout_s:g} s:\n{self.describe()}")
