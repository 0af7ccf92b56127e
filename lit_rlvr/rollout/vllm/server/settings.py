"""The settings of `VLLMServerEngine`, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lit_rlvr.rollout.vllm.server.command import check_server_args

ServerDtype = Literal["auto", "float32", "bfloat16", "float16"]
Transfer = Literal["auto", "files", "nccl"]


@dataclass(frozen=True)
class ServerSettings:
    """See `VLLMServerEngine`."""

    urls: Sequence[str]
    launch: bool
    num_servers: int
    first_port: int
    server_args: Mapping[str, Any]
    devices: Sequence[Sequence[int]] | None
    transfer: Transfer
    weights_dir: str | None
    dtype: ServerDtype
    max_model_len: int | None
    request_timeout_s: float
    max_retries: int
    startup_timeout_s: float
    outage_timeout_s: float
    bucket_mb: int
    max_in_flight: int
    compare_logprobs_every: int
    api_key: str = field(repr=False)
    log_dir: str | None

    def __post_init__(self) -> None:
        """Reject settings that contradict each other."""
        for name in ("num_servers", "request_timeout_s", "startup_timeout_s", "outage_timeout_s", "bucket_mb", "max_in_flight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{_key(name)} must be positive, got {getattr(self, name)}")
        for name in ("max_retries", "first_port", "compare_logprobs_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{_key(name)} must be 0 or positive, got {getattr(self, name)}")
        if self.launch == bool(self.urls):
            given = "both are" if self.launch else "neither is"
            raise ValueError(
                f"{_key('launch')}: true launches servers, {_key('urls')} names those that run already; {given} set"
            )
        if self.launch:
            check_server_args(self.server_args)
            if self.devices is not None and len(self.devices) != self.num_servers:
                raise ValueError(
                    f"{_key('devices')} has {len(self.devices)} lists for num_servers={self.num_servers}: one for each"
                )
        else:
            self._check_found()

    def _check_found(self) -> None:
        only_launched = {"num_servers": 1, "first_port": 0, "server_args": {}, "devices": None, "log_dir": None}
        for name, default in only_launched.items():
            if getattr(self, name) != default:
                raise ValueError(f"{_key(name)} is for launched servers (launch: true), but urls are given")
        if self.transfer != "nccl" and self.weights_dir is None:
            raise ValueError(
                f"{_key('weights_dir')} is not set: servers at urls take weights from files, in a folder or under an fsspec URL that "
                "they and this machine reach under the same name"
            )


def _key(name: str) -> str:
    return f"data.engine.init_args.{name}"
