"""How a vLLM server is started for a policy: its configuration, its flags and its environment."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

OWN_ARGS = {
    "model": "the policy's configuration",
    "load_format": "weights come from the policy",
    "host": "launched servers listen on this machine only",
    "port": "set first_port",
    "dtype": "set dtype",
    "max_model_len": "set max_model_len",
    "worker_extension_cls": "it takes over the weights",
    "logprobs_mode": "log-probs must be those of the distribution that is sampled from",
    "skip_tokenizer_init": "prompts come as tokens",
    "enable_scale_out": "completions come from its endpoints",
    "weight_transfer_config": "set transfer",
    "api_key": "set api_key",
}
"""Flags that are not the user's, and why."""
TRAINER_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""What tells the trainer's processes of each other, and is nothing to a server."""
KEY_VARIABLE = "VLLM_API_KEY"


@dataclass(frozen=True)
class LaunchSettings:
    """What all launched servers of an engine have in common."""

    model_folder: str
    """Folder with the policy's `config.json`."""
    dtype: str
    max_model_len: int | None = None
    server_args: Mapping[str, Any] = field(default_factory=dict)
    transfer: str = "files"
    api_key: str = field(default="", repr=False)


def check_server_args(server_args: Mapping[str, Any]) -> None:
    """Refuse flags that the engine sets itself.

    Raises:
        ValueError: one of them is given.
    """
    for name in server_args:
        reason = OWN_ARGS.get(name.lstrip("-").replace("-", "_"))
        if reason:
            raise ValueError(f"data.engine.init_args.server_args.{name} is not yours to set: {reason}")


def server_command(settings: LaunchSettings, port: int) -> list[str]:
    """Return the command line of a server on this machine."""
    arguments: dict[str, Any] = {
        "model": settings.model_folder,
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "host": "127.0.0.1",
        "port": port,
        "dtype": settings.dtype,
        "worker_extension_cls": "lit_rlvr.rollout.vllm.sync.worker.WorkerExtension",
        "logprobs_mode": "processed_logprobs",
        "enable_scale_out": True,
        "enable_prompt_tokens_details": True,
        "middleware": "lit_rlvr.rollout.vllm.server.guard.RequireKey",
        "scheduling_policy": "priority",
        "uvicorn_log_level": "warning",
    }
    if settings.max_model_len is not None:
        arguments["max_model_len"] = settings.max_model_len
    if settings.transfer == "nccl":
        arguments["weight_transfer_config"] = {"backend": "nccl"}
    if not torch.accelerator.is_available():
        # vLLM's CPU build would take nearly all memory for its cache, and a C++ compiler; and it dies when the prompt of a request with
        # a seed is computed in several steps, which happens in updates too, when all requests start again at once.
        arguments |= {"kv_cache_memory_bytes": 2**30, "enforce_eager": True, "enable_chunked_prefill": False}
    arguments |= {name.lstrip("-").replace("-", "_"): value for name, value in settings.server_args.items()}
    flags = [flag for name, value in arguments.items() for flag in _flags(name, value)]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]


def server_environment(settings: LaunchSettings, devices: Sequence[int] | None) -> dict[str, str]:
    """Return the environment of a server that computes on these devices (None: on all)."""
    environment = {
        name: value for name, value in os.environ.items() if name not in TRAINER_VARIABLES and "TORCHELASTIC" not in name
    }
    package_root = str(Path(__file__).parents[4])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), package_root)))
    environment |= {"VLLM_SERVER_DEV_MODE": "1", KEY_VARIABLE: settings.api_key}
    # Set for an engine in the trainer's process; a server has processes of its own.
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
    environment.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    if devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
    if not torch.accelerator.is_available():
        # Each server would bind its threads to the same cores.
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        environment.setdefault("TORCHDYNAMO_DISABLE", "1")
    return environment


def _flags(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is True:
        return [flag]
    if value is False:
        return ["--no-" + name.replace("_", "-")]
    return [flag, json.dumps(value) if isinstance(value, dict | list) else str(value)]
