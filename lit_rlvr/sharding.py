"""Weights sharded over ranks with FSDP2, and whole again while a policy generates."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard


def shard(root: nn.Module, layers: nn.ModuleList, mesh: DeviceMesh) -> None:
    """Shard each layer by itself, and everything else (embeddings, last norm, head) with the root.

    What belongs to the root stays whole from the start of a forward of the root to the end of its backward: the head may be
    called any number of times in between, on each rank another number, and may share its weights with the embeddings.
    """
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(root, mesh=mesh)


@contextmanager
def unsharded(root: nn.Module) -> Iterator[None]:
    """Gather the weights of a module sharded with `fully_shard` once, and free them at the end; other modules are left alone.

    Inside, a forward needs no other rank, so ranks may generate different numbers of tokens without waiting for each other
    for ever. Entering is collective: every rank must enter, even one that has nothing to generate.
    """
    shards = [module for module in root.modules() if isinstance(module, FSDPModule)]
    # PyTorch has a setter for the moment of resharding but no getter.
    states = [module._get_fsdp_state() for module in shards]
    if states:
        # Otherwise the first layer to run, not the root, would be taken for the root from now on.
        states[0]._lazy_init()
    before = [
        (state._auto_reshard_after_forward, getattr(state._fsdp_param_group, "post_forward_mesh_info", None))
        for state in states
    ]
    try:
        for module in shards:
            module.unshard()
            module.set_reshard_after_forward(False, recurse=False)
        yield
    finally:
        for module, state, (automatic, mesh_info) in zip(shards, states, before, strict=True):
            state._auto_reshard_after_forward = automatic
            if state._fsdp_param_group is not None:
                state._fsdp_param_group.post_forward_mesh_info = mesh_info
            module.reshard()
