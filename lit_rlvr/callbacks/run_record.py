"""The provenance record of a run: what was configured, with which code, where."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import Any

import fsspec
import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from lit_rlvr.callbacks.git_state import git_state

ENVIRONMENT_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "PYTHONHASHSEED",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Recorded when set: they change numbers or devices. No others are, because variables hold secrets."""


class RunRecord(SaveConfigCallback):
    """Writes `config.yaml` and `environment.json` into the run's log directory (a URL works) when it starts, on rank 0.

    `config.yaml` is the resolved configuration: every default, every interpolation replaced by its value. Given to `-c` it
    repeats the run. `environment.json` holds

    - `command` and `directory`: the command line and where it was given; `start_time` (UTC) and `seed`;
    - `python`, `platform`, `packages`: versions, of every installed package;
    - `torch`: version, threads, deterministic mode, accelerators, and the processes of the run;
    - `variables`: the environment variables that change numbers or devices, where they are set;
    - `git`: of the repository around the working directory and of the one around this package: commit, branch, whether it has
      changes, and a hash of them. None without git or a repository;
    - `earlier`: the records of earlier starts in the same directory (a resumed run), oldest first.

    `validate` and `test` write `validate_config.yaml`, `test_environment.json` and so on: the record of the training stays.

    Args:
        parser: knows how to write the configuration.
        config: the parsed configuration.
        command: the command line; `sys.argv` when empty.
        overwrite: replace a `config.yaml` that is already there instead of stopping.
        config_filename: name of the configuration file of `fit`.
        multifile: keep the structure of a configuration that includes other files.
        save_to_log_dir: write the configuration at all.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        command: Sequence[str] = (),
        overwrite: bool = True,
        config_filename: str = "config.yaml",
        multifile: bool = False,
        save_to_log_dir: bool = True,
    ) -> None:
        super().__init__(parser, config, config_filename, overwrite, multifile, save_to_log_dir)
        self.command = tuple(command) or tuple(sys.argv)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write both files once, under the names of the stage."""
        if self.already_saved:
            return
        assert trainer.state.fn is not None
        self._prefix = "" if stage == "fit" else f"{trainer.state.fn.value}_"
        self.config_filename = self._prefix + self.config_filename
        self._directory = str(trainer.log_dir)  # a collective: here on every rank, where save_config runs on rank 0 only
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write `environment.json` beside the configuration."""
        record = environment_record(self.command, self.config.get("seed_everything"), trainer)
        write_record(os.path.join(self._directory, f"{self._prefix}environment.json"), record)


def environment_record(command: Sequence[str], seed: int | bool | None, trainer: Trainer) -> dict[str, Any]:
    """Return the contents of `environment.json` (see `RunRecord`), without `earlier`."""
    return {
        "command": shlex.join(command),
        "directory": os.getcwd(),
        "start_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "torch": _torch_record(trainer),
        "variables": {name: os.environ[name] for name in ENVIRONMENT_VARIABLES if name in os.environ},
        "git": {"directory": git_state(os.getcwd()), "lit_rlvr": git_state(os.path.dirname(__file__))},
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
    }


def write_record(path: str, record: Mapping[str, Any]) -> None:
    """Write a record as JSON; one that is already there is kept under `earlier`.

    Args:
        path: a file or a URL.
        record: the contents.
    """
    filesystem, file = fsspec.core.url_to_fs(path)
    earlier: list[Any] = []
    if filesystem.exists(file):
        previous = json.loads(filesystem.cat_file(file))
        earlier = [*previous.pop("earlier", []), previous]
    filesystem.makedirs(os.path.dirname(file), exist_ok=True)
    filesystem.pipe_file(file, json.dumps({**record, "earlier": earlier}, indent=2).encode())


def _torch_record(trainer: Trainer) -> dict[str, Any]:
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "num_threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "accelerator": type(trainer.accelerator).__name__,
        "strategy": type(trainer.strategy).__name__,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or [platform.processor() or "cpu"],
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
    }
