"""Whole weights on every rank while it generates, for models sharded with FSDP2."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.distributed.fsdp import FSDPModule


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Gather the weights of a model sharded with `fully_shard` once, and free them at the end; other models are left alone.

    Inside, a forward needs no other rank, so ranks may generate different numbers of tokens without waiting for each other
    for ever. Entering is collective: every rank must enter, even one that has nothing to generate.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    # PyTorch has a setter for the moment of resharding but no getter.
    states = [module._get_fsdp_state() for module in shards]
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
