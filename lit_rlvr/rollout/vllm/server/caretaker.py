"""Looks after one server: notices that it died or forgot its weights, and brings it back."""

import logging
import threading
import time
from collections.abc import Callable

from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool
from lit_rlvr.rollout.vllm.sync.proof import WeightSyncError

LOOK_EVERY_S = 5.0
"""Seconds between two looks at a server that seems well."""
LOOK_AGAIN_S = 0.5
"""Seconds between two looks at a server that does not."""
MAX_SILENT_LOOKS = 3
"""Looks without an answer after which a server counts as down."""
MAX_SILENT_LOOKS_OF_OWN = 10
"""Looks without an answer after which a launched server is started again."""
MAX_FAILED_STARTS = 3
"""Starts in a row that failed, or repairs, after which a server is given up."""

_logger = logging.getLogger(__name__)


class Caretaker(threading.Thread):
    """Looks at one server now and then, and whenever a request to it failed.

    Args:
        server: whom to look after.
        pool: is told how the server stands.
        repair: gives the server the current weights and proves that it has them; None where another process does that.
        startup_timeout_s: seconds a launched server may take to answer.
    """

    def __init__(
        self, server: Server, pool: ServerPool, repair: Callable[[Server], None] | None, startup_timeout_s: float
    ) -> None:
        super().__init__(name=f"caretaker of {server.url}", daemon=True)
        self.server, self.pool, self.repair, self.startup_timeout_s = server, pool, repair, startup_timeout_s
        self._silent_looks = 0
        self._failed_starts = 0
        self._is_starting = False
        self._has_stopped = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._has_stopped.is_set():
            self.server.needs_attention.wait(LOOK_EVERY_S if self.server.is_ready else LOOK_AGAIN_S)
            self.server.needs_attention.clear()
            if self._has_stopped.is_set() or self.server.is_given_up:
                continue
            try:
                self._look()
            except Exception as error:
                # Without its caretaker a server would never come back.
                _logger.exception("looking after vLLM server %s failed", self.server.url)
                self._count_failure(f"could not be looked after: {type(error).__name__}: {error}")
            if not self.server.is_ready:
                self._has_stopped.wait(LOOK_AGAIN_S)

    def stop(self) -> None:
        """Stop looking after the look that is going on; `join` waits for it."""
        self._has_stopped.set()
        self.server.needs_attention.set()

    def _look(self) -> None:
        server, process = self.server, self.server.process
        if process is not None and not process.is_alive():
            self._start_again()
            return
        with server.update_lock:
            if self.pool.is_updating:
                return
            failures_before = server.num_failures
            try:
                label = server.client.weight_label()
            except ServerFailed as error:
                self._is_silent(str(error))
                return
            except (PermissionError, ValueError) as error:
                self.pool.mark_down(server, f"is not what it was: {error}")
                return
            self._silent_looks, self._is_starting = 0, False
            if self.pool.is_current(label):
                self._failed_starts = 0
                # A server that failed while it was asked may have answered just before it died.
                if server.num_failures == failures_before:
                    self.pool.mark_ready(server)
                return
            self.pool.mark_down(server, f"holds weights {label!r} instead of those of update {self.pool.update}")
            if self.repair is not None:
                self._repair(self.repair)

    def _repair(self, repair: Callable[[Server], None]) -> None:
        try:
            repair(self.server)
        except (ServerFailed, OSError, ValueError, WeightSyncError) as error:
            self._count_failure(f"could not be given the current weights: {type(error).__name__}: {error}")
            return
        self._failed_starts = 0
        self.pool.mark_ready(self.server)

    def _start_again(self) -> None:
        """Start a launched server that has ended; it will be given weights once it answers."""
        process = self.server.process
        assert process is not None
        if self._is_starting:
            self._is_starting = False
            self._count_failure(f"ended while it was starting (exit code {process.exit_code})")
            return
        self.pool.mark_down(self.server, f"ended (exit code {process.exit_code}) and is starting again")
        process.start()
        self._is_starting = True

    def _is_silent(self, reason: str) -> None:
        """Decide about a server that does not answer."""
        process = self.server.process
        if self._is_starting and process is not None:
            if time.monotonic() - process.started_at > self.startup_timeout_s:
                process.stop()
                self._is_starting = False
                self._count_failure(f"did not answer within {self.startup_timeout_s:g} s of its start")
            return
        self._silent_looks += 1
        if self._silent_looks >= MAX_SILENT_LOOKS or not self.server.is_ready:
            self.pool.mark_down(self.server, f"does not answer: {reason}")
        if process is not None and self._silent_looks >= MAX_SILENT_LOOKS_OF_OWN:
            process.stop()

    def _count_failure(self, problem: str) -> None:
        self._failed_starts += 1
        is_given_up = self._failed_starts >= MAX_FAILED_STARTS
        suffix = f" ({self._failed_starts} times in a row: given up)" if is_given_up else ""
        self.pool.mark_down(self.server, problem + suffix, is_given_up)
