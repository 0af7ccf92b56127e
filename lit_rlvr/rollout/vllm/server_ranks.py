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


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()
