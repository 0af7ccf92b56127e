"""What vLLM, running inside the trainer's process, must leave as it was: random states, thread counts and the process group."""

import gc
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


@contextmanager
def randomness_kept() -> Iterator[None]:
    """Put the global random states (python, numpy, torch, the current GPU) back at the end.

    Only on the main thread: while another one generates, the trainer may draw numbers itself, and going back would repeat them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu)


@contextmanager
def thread_setter_kept() -> Iterator[None]:
    """Put `torch.set_num_threads` back at the end: vLLM's CPU worker replaces it by a function that does nothing."""
    setter = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = setter


@contextmanager
def garbage_collected() -> Iterator[None]:
    """Let the garbage collector see everything again at the end: vLLM exempts all objects that exist when it is built."""
    was_frozen = gc.get_freeze_count() > 0
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()


@contextmanager
def default_group_kept() -> Iterator[None]:
    """Keep the default process group alive: vLLM destroys it when it shuts down, even one that it has not made."""
    destroy = dist.destroy_process_group

    def destroy_others(group: Any = None) -> None:
        if group is not None and group is not dist.group.WORLD:
            destroy(group)

    dist.destroy_process_group = destroy_others
    try:
        yield
    finally:
        dist.destroy_process_group = destroy


def check_process_group() -> None:
    """Refuse to build an engine before the group of the processes it runs beside.

    vLLM makes a process group of its own, of one process, where it finds none; a Trainer that is to make one of several processes
    then takes it for its own, and each process trains by itself without a word.

    Raises:
        RuntimeError: the environment says that there are several processes (`WORLD_SIZE`), and the process group has one.
    """
    expected = int(os.environ.get("WORLD_SIZE") or 1)
    found = dist.get_world_size() if dist.is_initialized() else 1
    if expected > 1 and found == 1:
        raise RuntimeError(
            f"VLLMEngine was given weights before the process group of {expected} processes (WORLD_SIZE) exists: vLLM would make one "
            "with a single process, and each process would then train by itself. Let the Trainer start first (its fit, validate or "
            "test calls the engine when it is time), or call torch.distributed.init_process_group before update_weights"
        )


class TurnsByArrival:
    """A lock that is given in the order of asking: who steps in a loop cannot keep out who waits for one turn."""

    def __init__(self) -> None:
        self._door, self._room = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        """Wait at the door, then for the room to be left."""
        with self._door:
            self._room.acquire()

    def __exit__(self, *_: object) -> None:
        """Leave the room."""
        self._room.release()


def collect_garbage() -> None:
    """Free what only cycles hold, tensors among it."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
