"""The servers of a run, seen from one rank: opened, updated, proven, looked after and closed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lit_rlvr.rollout.vllm.building import causal_lm_inside
from lit_rlvr.rollout.vllm.server.canaries import ServerCanaries, Song
from lit_rlvr.rollout.vllm.server.caretaker import Caretaker
from lit_rlvr.rollout.vllm.server.client import ServerClient
from lit_rlvr.rollout.vllm.server.labels import Labels
from lit_rlvr.rollout.vllm.server.nccl import NCCLTransfer
from lit_rlvr.rollout.vllm.server.opening import OpenedServers
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool
from lit_rlvr.rollout.vllm.server.ranks import fail_together, from_first_rank, host_name, is_first_rank
from lit_rlvr.rollout.vllm.server.settings import ServerSettings
from lit_rlvr.rollout.vllm.server.update import FileTransfer
from lit_rlvr.rollout.vllm.sync.fingerprint import dtype_name
from lit_rlvr.types import RolloutPolicy


@dataclass(frozen=True)
class _News:
    """What the first rank tells the others after an update."""

    host: str
    update: int
    run: str
    urls: tuple[str, ...]
    api_key: str = field(repr=False)
    dtype: str
    max_model_len: int


class ServerFleet:
    """The servers of a run. The first rank opens and updates them, all ranks ask them.

    Args:
        settings: see `VLLMServerEngine`.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.pool: ServerPool | None = None
        self.vocab_size = 0
        self.max_model_len = 0
        self._opened: OpenedServers | None = None
        self._transfer: FileTransfer | None = None
        self._nccl = NCCLTransfer() if settings.transfer == "nccl" else None
        self._canaries: ServerCanaries | None = None
        self._caretakers: list[Caretaker] = []

    def update(self, policy: RolloutPolicy, version: int) -> None:
        """Give the servers the policy's weights; see `VLLMServerEngine.update_weights`. A collective of all ranks."""
        is_new = self.pool is None
        self.vocab_size = causal_lm_inside(policy.model).config.get_text_config(decoder=True).vocab_size
        try:
            if self._nccl is not None:
                self._nccl.check(policy)
                failure = self._open(policy) if is_first_rank() else None
            else:
                failure = self._send_files(policy, version)
            fail_together(failure)
            pool = self._agree()
            if self._nccl is not None:
                self._nccl.send(pool, policy, version, is_local=self.settings.launch)
            if is_new:
                self._look_after(pool)
            self._hear_canaries(pool, policy)
        except BaseException:
            if is_new:
                self.close()
            raise

    def _send_files(self, policy: RolloutPolicy, version: int) -> Exception | None:
        """Send the weights through files, from the first rank; return what went wrong."""
        named = policy.named_weights()
        failure = self._drive(policy, named, version) if is_first_rank() else None
        # Weights may be gathered from all ranks: each of them iterates to the end, whatever happened.
        for _ in named:
            pass
        return failure

    def _drive(self, policy: RolloutPolicy, named: Iterator[tuple[str, Tensor]], version: int) -> Exception | None:
        try:
            is_new = self._opened is None
            opened = self._opened = self._opened or OpenedServers(self.settings, policy)
            self.pool = self.pool or self._pool_of(opened.servers, opened.run)
            bucket_bytes = self.settings.bucket_mb * 2**20
            self._transfer = self._transfer or FileTransfer(self.pool, opened.files, opened.dtype, bucket_bytes)
            # Launched servers start while the weights are written.
            self._transfer.write(named, version)
            if is_new:
                opened.wait_until_up()
            self._transfer.distribute()
        except Exception as error:
            return error
        return None

    def _open(self, policy: RolloutPolicy) -> Exception | None:
        try:
            if self._opened is None:
                self._opened = OpenedServers(self.settings, policy)
                self._opened.wait_until_up()
            self.pool = self.pool or self._pool_of(self._opened.servers, self._opened.run)
        except Exception as error:
            return error
        return None

    def _agree(self) -> ServerPool:
        """Return the servers, on all ranks alike."""
        news = from_first_rank(self._news() if is_first_rank() else None)
        assert news is not None
        pool = self.pool = self.pool or self._learn(news)
        pool.update = news.update
        if self._canaries is None:
            self.max_model_len = news.max_model_len
            every = 1 if self._nccl is not None else self.settings.compare_logprobs_every
            self._canaries = ServerCanaries(news.max_model_len, self.vocab_size, getattr(torch, news.dtype), every)
        return pool

    def _news(self) -> _News:
        assert self._opened is not None
        assert self.pool is not None
        return _News(
            host=host_name(),
            update=self.pool.update,
            run=self._opened.run,
            urls=tuple(server.url for server in self._opened.servers),
            api_key=self._opened.api_key,
            dtype=dtype_name(self._opened.dtype),
            max_model_len=self._opened.max_model_len,
        )

    def _learn(self, news: _News) -> ServerPool:
        """Set this rank up to ask the servers that the first rank drives."""
        if self.settings.launch and news.host != host_name():
            raise ValueError(
                f"data.engine.init_args.launch: servers launched on {news.host} cannot be asked from {host_name()}: for a trainer on "
                "several machines start the servers yourself and give their urls"
            )
        clients = [ServerClient(url, news.api_key, self.settings.request_timeout_s) for url in news.urls]
        return self._pool_of([Server(client) for client in clients], news.run)

    def _pool_of(self, servers: list[Server], run: str) -> ServerPool:
        settings = self.settings
        return ServerPool(servers, Labels(run), settings.max_in_flight, settings.max_retries, settings.outage_timeout_s)

    def _look_after(self, pool: ServerPool) -> None:
        repair = self._repair if self._transfer is not None else None
        self._caretakers = [Caretaker(server, pool, repair, self.settings.startup_timeout_s) for server in pool.servers]
        for caretaker in self._caretakers:
            caretaker.start()

    def _repair(self, server: Server) -> None:
        """Give a server that came back the current weights, with proof."""
        assert self._opened is not None
        assert self._transfer is not None
        self._opened.check(server.client.facts())
        self._transfer.give(server)

    def _hear_canaries(self, pool: ServerPool, policy: RolloutPolicy) -> None:
        """Check what each fit server samples, on all ranks alike, once there is such a server."""
        assert self._canaries is not None
        songs: dict[str, Song] = {}
        failure = None
        if is_first_rank():
            try:
                pool.wait_until_any_is_ready()
                songs = self._canaries.songs(pool)
            except Exception as error:
                failure = error
        fail_together(failure)
        self._canaries.check(from_first_rank(songs), policy)

    def close(self) -> None:
        """End launched servers, leave found ones alone, and delete what was written."""
        for caretaker in self._caretakers:
            caretaker.stop()
        if self.pool is not None:
            self.pool.close()
        for caretaker in self._caretakers:
            caretaker.join(timeout=60)
        if self._nccl is not None:
            self._nccl.close()
        if self._opened is not None:
            self._opened.close()
        self.pool, self._opened, self._transfer, self._canaries, self._caretakers = None, None, None, None, []
