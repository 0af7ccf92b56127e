"""What the first rank opens at the beginning of a run: launched or found servers, and the folder that it all lies in."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lit_rlvr.rollout.vllm.building import causal_lm_inside, save_config
from lit_rlvr.rollout.vllm.server.client import ServerClient, ServerFacts
from lit_rlvr.rollout.vllm.server.command import LaunchSettings
from lit_rlvr.rollout.vllm.server.launch import contact, launch, wait_until_up
from lit_rlvr.rollout.vllm.server.pool import Server
from lit_rlvr.rollout.vllm.server.settings import ServerSettings
from lit_rlvr.rollout.vllm.server.weight_files import WeightFiles
from lit_rlvr.rollout.vllm.sync.fingerprint import dtype_name
from lit_rlvr.types import RolloutPolicy


class OpenedServers:
    """The servers of a run, launched or contacted.

    Args:
        settings: see `VLLMServerEngine`.
        policy: whose configuration launched servers get.

    Raises:
        ValueError, PermissionError, ImportError, RuntimeError: as `launch` and `contact`.
    """

    def __init__(self, settings: ServerSettings, policy: RolloutPolicy) -> None:
        self.settings = settings
        self.run = secrets.token_hex(8)
        self.api_key = settings.api_key or (secrets.token_hex(16) if settings.launch else "")
        self.dtype: torch.dtype = policy.compute_dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
        self.max_model_len = 0
        self.servers: list[Server] = []
        self._files: WeightFiles | None = None
        self._folder = TemporaryDirectory(prefix="lit_rlvr_servers_", ignore_cleanup_errors=True) if settings.launch else None
        try:
            if settings.launch:
                self._launch(policy)
            else:
                self._contact()
        except BaseException:
            self.close()
            raise

    def wait_until_up(self) -> None:
        """Wait for launched servers.

        Raises:
            RuntimeError: one did not come up; tells the end of its log.
        """
        if self.settings.launch:
            self._take(wait_until_up(self.servers, self.settings.startup_timeout_s))

    def check(self, facts: ServerFacts) -> None:
        """Refuse a server that is not what the settings say, or differs from the others.

        Raises:
            ValueError: it is not, or does.
        """
        if facts.dtype != dtype_name(self.dtype):
            raise ValueError(
                f"data.engine.init_args.dtype: a vLLM server computes in {facts.dtype}, expected {dtype_name(self.dtype)}: "
                "start all servers with the same --dtype, and set dtype to it or to auto"
            )
        wanted = self.settings.max_model_len
        if wanted is not None and facts.max_model_len < wanted:
            raise ValueError(
                f"data.engine.init_args.max_model_len={wanted}, but a vLLM server has {facts.max_model_len}: start it with more"
            )

    @property
    def files(self) -> WeightFiles:
        """Where the weights are written: a folder of this run alone."""
        if self._files is None:
            parent = self.settings.weights_dir or (self._folder.name if self._folder is not None else "")
            self._files = WeightFiles(f"{parent.rstrip('/')}/lit-rlvr-{self.run}")
        return self._files

    def close(self) -> None:
        """End launched servers, leave found ones alone, and delete what was written."""
        for server in self.servers:
            if server.process is not None:
                server.process.stop()
        if self._files is not None:
            self._files.delete()
        if self._folder is not None:
            self._folder.cleanup()

    def _launch(self, policy: RolloutPolicy) -> None:
        assert self._folder is not None
        model_folder = Path(self._folder.name) / "model"
        save_config(causal_lm_inside(policy.model), str(model_folder))
        logs = Path(self.settings.log_dir or self._folder.name)
        logs.mkdir(parents=True, exist_ok=True)
        common = LaunchSettings(
            model_folder=str(model_folder),
            dtype=dtype_name(self.dtype),
            max_model_len=self.settings.max_model_len,
            server_args=self.settings.server_args,
            transfer=self.settings.transfer,
            api_key=self.api_key,
        )
        launch(self.servers, common, self.settings, logs, folders=[self._folder.name])

    def _contact(self) -> None:
        self.servers = [Server(ServerClient(url, self.api_key, self.settings.request_timeout_s)) for url in self.settings.urls]
        facts = contact(self.servers)
        if self.settings.dtype == "auto":
            self.dtype = getattr(torch, facts[0].dtype)
        self._take(facts)

    def _take(self, facts: Sequence[ServerFacts]) -> None:
        for fact in facts:
            self.check(fact)
        self.max_model_len = min(fact.max_model_len for fact in facts)
