"""Giving servers the policy's weights through files, and proving that they have them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool
from lit_rlvr.rollout.vllm.server.weight_files import WeightFiles, WeightVersion
from lit_rlvr.rollout.vllm.sync.proof import PolicyFingerprints, compare
from lit_rlvr.rollout.weight_buckets import weight_buckets


@dataclass(frozen=True)
class _Target:
    weights: WeightVersion
    expected: PolicyFingerprints
    update: int
    """Its number among all updates."""


class FileTransfer:
    """Writes each version of the weights once, for all servers, and keeps the latest for those that come back later.

    Args:
        pool: the servers.
        files: where the weights are written.
        dtype: the type that the servers compute in.
        bucket_bytes: size of one file.
    """

    def __init__(self, pool: ServerPool, files: WeightFiles, dtype: torch.dtype, bucket_bytes: int) -> None:
        self.pool, self.files, self.dtype, self.bucket_bytes = pool, files, dtype, bucket_bytes
        self.num_updates = 0
        """Updates that were begun so far."""
        self._target: _Target | None = None
        self._next: _Target | None = None

    def write(self, named: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Write a version, which the servers are to be given next; they go on with the previous one meanwhile."""
        self.num_updates += 1
        expected = PolicyFingerprints(self.dtype, version)
        weights = self.files.write(weight_buckets(expected.watch(named), self.bucket_bytes), version)
        self._next = _Target(weights, expected, self.num_updates)

    def distribute(self) -> None:
        """Give all servers that answer the version that was written last.

        A server that fails is left to its caretaker, which gives it the weights once it answers.

        Raises:
            WeightSyncError: a server has other weights afterwards.
        """
        assert self._next is not None
        self.pool.is_updating = True
        try:
            self._target = self._next
            with ThreadPoolExecutor(len(self.pool.servers)) as threads:
                list(threads.map(self._give_if_it_answers, self.pool.servers))
            self.pool.update = self._next.update
        finally:
            self.pool.is_updating = False
        self.files.keep_only(self._next.weights.version)

    def give(self, server: Server) -> None:
        """Give one server the current weights. The caller holds its `update_lock`.

        The requests that it is working on stop meanwhile, and go on with the new weights; their keys and values are computed anew.
        Its label is set last, once the weights are proven: whoever sees the label may trust them.

        Raises:
            ServerFailed: it does not answer, or refuses.
            WeightSyncError: it has other weights afterwards.
        """
        assert self._target is not None
        weights, expected, client = self._target.weights, self._target.expected, server.client
        client.pause()
        client.call_workers("lit_begin_update")
        for path in weights.paths:
            client.call_workers("lit_load_file", path)
        client.call_workers("lit_finish_update", weights.version)
        compare(expected, client.call_workers("lit_fingerprints"))
        client.set_weight_label(self.pool.labels.of(self._target.update, weights.version))
        client.reset_prefix_cache()
        client.resume()

    def _give_if_it_answers(self, server: Server) -> None:
        with server.update_lock:
            if not server.is_ready and self.pool.update > 0:
                return
            try:
                self.give(server)
            except ServerFailed as error:
                self.pool.mark_down(server, f"failed while it was given weights: {error}")
                server.needs_attention.set()
                return
            except Exception as error:
                self.pool.mark_down(server, f"could not be given weights: {error}", is_given_up=True)
                raise
            self.pool.mark_ready(server)
