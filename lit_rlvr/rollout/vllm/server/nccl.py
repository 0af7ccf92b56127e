"""Weights from the trainer's GPUs to those of servers, with vLLM's own transfer over NCCL."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from lit_rlvr.rollout.vllm.library import load_vllm
from lit_rlvr.rollout.vllm.server.client import UPDATE_TIMEOUT_S
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool
from lit_rlvr.rollout.vllm.server.process import free_port
from lit_rlvr.rollout.vllm.server.ranks import from_first_rank, is_first_rank
from lit_rlvr.types import RolloutPolicy

T = TypeVar("T")


class NCCLTransfer:
    """Broadcasts the policy's parameters to all workers of all servers, gathering sharded ones on the way.

    Follows the source of vLLM 0.32 (`WeightTransferTrainerFactory`, `NCCLTrainerInitInfo`, `ModuleSource`); it has not been tried on
    a GPU. There is no copy of the weights for a server that comes back later, so it waits for the next update; and nothing tells
    what arrived, so every update's log-probs are compared with the policy's instead.
    """

    def __init__(self) -> None:
        self._sender: Any = None
        self._members: tuple[object, ...] = ()

    def check(self, policy: RolloutPolicy) -> None:
        """Refuse what this transfer cannot do.

        Raises:
            ValueError: the policy is not on an NVIDIA GPU, or has adapters.
        """
        kind = next(policy.model.parameters()).device.type
        if kind != "cuda" or not torch.cuda.is_available():
            raise ValueError(
                f"data.engine.init_args.transfer: nccl sends weights from an NVIDIA GPU, but the policy is on {kind!r}; take files"
            )
        if hasattr(policy.model, "peft_config"):
            raise ValueError(
                "data.engine.init_args.transfer: nccl sends parameters as they are, and cannot merge adapters (model.lora); take files"
            )

    def send(self, pool: ServerPool, policy: RolloutPolicy, version: int, is_local: bool) -> None:
        """Send the weights to all servers that answer. A collective of all ranks.

        Args:
            pool: the servers.
            policy: whose weights are sent.
            version: of the weights.
            is_local: True when the servers are on this machine.

        Raises:
            ServerFailed, NCCL's errors: a server failed meanwhile. The run cannot go on.
        """
        pool.is_updating = True
        try:
            servers = [server for server in pool.servers if is_first_rank() and self._answers(server)]
            members = from_first_rank(tuple((s.url, s.process.num_starts if s.process else 0) for s in servers))
            client = _AllServers(servers, pool.labels.of(pool.update + 1, version))
            if members != self._members:
                self._sender = self._open(policy, client, is_local)
                self._members = members
            self._sender.client = client
            self._sender.send_weights()
            pool.update += 1
            for server in servers:
                pool.mark_ready(server)
        finally:
            pool.is_updating = False

    def _open(self, policy: RolloutPolicy, client: "_AllServers", is_local: bool) -> Any:
        """Make the group of this rank and all workers anew."""
        load_vllm(in_this_process=False)
        from vllm.distributed.weight_transfer.base import ModuleSource
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        if self._sender is not None:
            self._sender.shutdown()
            client.everywhere(lambda server: server.client.ask("POST", "/shutdown_weight_transfer_engine"))
        client.ask_worlds()
        place = NCCLTrainerInitInfo(
            master_address="127.0.0.1" if is_local else socket.gethostbyname(socket.gethostname()),
            master_port=free_port(),
            world_size=1 + sum(client.worlds),
            rank=dist.get_rank() if dist.is_initialized() else 0,
        )
        return WeightTransferTrainerFactory.trainer_init(place, client=client, source=ModuleSource(policy.model))

    def _answers(self, server: Server) -> bool:
        # A group with somebody who is not there would wait for ever.
        try:
            server.client.weight_label()
        except Exception:
            server.needs_attention.set()
            return False
        return True

    def close(self) -> None:
        """Leave the group."""
        if self._sender is not None:
            self._sender.shutdown()
            self._sender = None


class _AllServers:
    """All servers as one, as vLLM's `VLLMWeightSyncClient` wants to see them: each call goes to all at once.

    Args:
        servers: the servers.
        label: of the weights that are sent.
    """

    def __init__(self, servers: Sequence[Server], label: str) -> None:
        self.servers, self.label = list(servers), label
        self.worlds: list[int] = []

    def ask_worlds(self) -> None:
        """Ask the servers for their numbers of workers."""
        self.worlds = [int(server.client.ask("GET", "/get_world_size")["world_size"]) for server in self.servers]

    def everywhere(self, act: Callable[[Server], T]) -> list[T]:
        """Do something with all servers at once."""
        with ThreadPoolExecutor(max(1, len(self.servers))) as threads:
            return list(threads.map(act, self.servers))

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Let the workers join the group, those of each server after those of the servers before it."""

        def join(server: Server) -> None:
            before = sum(self.worlds[: self.servers.index(server)])
            mine = {**init_info, "rank_offset": init_info["rank_offset"] + before}
            server.client.ask("POST", "/init_weight_transfer_engine", {"init_info": mine}, UPDATE_TIMEOUT_S)

        self.everywhere(join)

    def start_weight_update(self) -> None:
        """Stop computing, and prepare the models to be loaded again."""

        def start(server: Server) -> None:
            server.client.pause()
            server.client.ask("POST", "/start_weight_update", timeout_s=UPDATE_TIMEOUT_S)

        self.everywhere(start)

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Receive what is being broadcast."""
        body = {"update_info": update_info}
        self.everywhere(lambda s: s.client.ask("POST", "/update_weights", body, UPDATE_TIMEOUT_S))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Compute with the new weights."""

        def finish(server: Server) -> None:
            server.client.ask("POST", "/finish_weight_update", {"weight_version": self.label}, UPDATE_TIMEOUT_S)
            server.client.reset_prefix_cache()
            server.client.resume()

        self.everywhere(finish)
