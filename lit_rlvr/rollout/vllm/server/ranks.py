"""What the ranks of a run tell each other about servers: the first one drives, the others learn."""

import socket
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def is_first_rank() -> bool:
    """Tell whether this process drives the servers."""
    return not dist.is_initialized() or dist.get_rank() == 0


def from_first_rank(value: T) -> T:
    """Return what the first rank has. A collective of all ranks."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def fail_together(failure: Exception | None) -> None:
    """Raise on all ranks what went wrong on the first one. A collective of all ranks.

    Raises:
        RuntimeError: on the other ranks.
    """
    text = from_first_rank(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    if text is not None:
        raise RuntimeError(f"the first rank could not update the vLLM servers: {text}")


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()
