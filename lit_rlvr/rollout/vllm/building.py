"""Starting vLLM in this process from a policy that is there already, and ending it without a trace."""

import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from lit_rlvr.rollout.vllm.isolation import (
    check_process_group,
    collect_garbage,
    default_group_kept,
    garbage_collected,
    randomness_kept,
    thread_setter_kept,
)
from lit_rlvr.rollout.vllm.library import load_vllm
from lit_rlvr.types import RolloutPolicy

OWN_ARGUMENTS = {
    "model": "it is the policy's",
    "tokenizer": "prompts arrive as tokens",
    "skip_tokenizer_init": "prompts arrive as tokens",
    "load_format": "weights come from the policy",
    "generation_config": "data.sampling says how to sample",
    "logprobs_mode": "log-probs are those of the distribution that is sampled from",
    "worker_extension_cls": "it takes the policy's weights over",
    "distributed_executor_backend": "it follows from tensor_parallel_size",
    "scheduling_policy": "requests are served in their order",
    "seed": "every completion has a seed of its own",
    "enable_sleep_mode": "set sleep_while_training",
    "kv_cache_memory_bytes": "set kv_cache_gb",
}
"""Arguments of `vllm.LLM` that are not free, and why."""


def check_extra(extra: Mapping[str, Any], own: Mapping[str, str]) -> None:
    """Refuse additional arguments of `vllm.LLM` that it does not have, or that are settings of the engine.

    Raises:
        ValueError: naming the argument.
    """
    load_vllm()
    from vllm.engine.arg_utils import EngineArgs

    known = {field.name for field in fields(EngineArgs)}
    for name in extra:
        if name in own:
            raise ValueError(f"data.engine.init_args.extra.{name} cannot be set: {own[name]}")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ValueError(f"data.engine.init_args.extra.{name} is not an argument of vllm.LLM{hint}")


def check_settings(positive: dict[str, float | None], gpu_memory_utilization: float, compare_logprobs_every: int) -> None:
    """Refuse sizes that are none.

    Raises:
        ValueError: naming the setting.
    """
    for name, value in positive.items():
        if value is not None and value <= 0:
            raise ValueError(f"data.engine.init_args.{name} must be positive, got {value}")
    if not 0 < gpu_memory_utilization <= 1:
        raise ValueError(f"data.engine.init_args.gpu_memory_utilization must be in (0, 1], got {gpu_memory_utilization}")
    if compare_logprobs_every < 0:
        raise ValueError(f"data.engine.init_args.compare_logprobs_every must be 0 or positive, got {compare_logprobs_every}")


def causal_lm_inside(model: torch.nn.Module) -> PreTrainedModel:
    """Return the transformers model, adapters or not.

    Raises:
        ValueError: there is none.
    """
    inner = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if inner is None:
        raise ValueError(f"vLLM runs models that transformers knows; {type(model).__name__} holds none")
    return inner


def save_config(model: PreTrainedModel, folder: str) -> None:
    """Write the model's configuration, and nothing else, where vLLM reads it."""
    config = type(model.config).from_dict(model.config.to_dict())
    if not config.architectures:
        # FSDP2 puts a class of its own in front of the model's.
        named = (kind.__name__ for kind in type(model).__mro__ if not kind.__module__.startswith("torch."))
        config.architectures = [next(named)]
    config.save_pretrained(folder)


def build_llm(policy: RolloutPolicy, folder: str, arguments: Mapping[str, Any]) -> Any:
    """Return a `vllm.LLM` of the policy's architecture. Its weights are noise until they are loaded.

    Args:
        policy: whose configuration, device and type count.
        folder: where its configuration is written; vLLM may read it again later.
        arguments: further arguments of `vllm.LLM`.

    Raises:
        RuntimeError: there are several processes, but no process group yet (`check_process_group`).
        ValueError: vLLM cannot run with the arguments.
    """
    check_process_group()
    vllm = load_vllm()
    model = causal_lm_inside(policy.model)
    save_config(model, folder)
    had_group = dist.is_initialized()
    if not had_group:
        # Lightning's advice for several processes, which it takes a process group for: vLLM's has one.
        warnings.filterwarnings("ignore", message=".*recommended to use .*sync_dist=True")
    with ExitStack() as kept:
        for context in (
            randomness_kept(),
            thread_setter_kept(),
            garbage_collected(),
            _launcher_environment(next(model.parameters()).device),
        ):
            kept.enter_context(context)
        try:
            return vllm.LLM(
                model=folder,
                skip_tokenizer_init=True,
                load_format="dummy",
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                scheduling_policy="priority",
                worker_extension_cls="lit_rlvr.rollout.vllm.sync.worker.WorkerExtension",
                **arguments,
            )
        except BaseException as error:
            # A half-built engine leaves its process groups behind, and the next one would stumble over them.
            _forget_groups(had_group)
            if isinstance(error, ValueError):
                sizes = "max_model_len, kv_cache_gb, gpu_memory_utilization and extra"
                raise ValueError(f"vLLM refuses its settings (data.engine.init_args: {sizes}): {error}") from error
            raise


@contextmanager
def _launcher_environment(device: torch.device) -> Iterator[None]:
    """Set what `external_launcher` reads of the environment, and put it back at the end: Lightning sets part of it only."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    wanted = {"RANK": str(rank), "LOCAL_RANK": str(device.index or 0)}
    if not dist.is_initialized():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            wanted |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def shut_down(llm: Any, had_group: bool) -> None:
    """End an engine, and give back its memory and its process groups, but never the trainer's."""
    with ExitStack() as kept:
        kept.enter_context(randomness_kept())
        if had_group and dist.is_initialized():
            kept.enter_context(default_group_kept())
        llm.llm_engine.engine_core.shutdown()
        llm.llm_engine.renderer.shutdown()


def _forget_groups(had_group: bool) -> None:
    from vllm.distributed import cleanup_dist_env_and_memory

    with ExitStack() as kept:
        if had_group:
            kept.enter_context(default_group_kept())
        cleanup_dist_env_and_memory()
    collect_garbage()
