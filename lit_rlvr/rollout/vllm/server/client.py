"""What this project asks of one vLLM server: completions by token ids, weights, and what it is."""

from dataclasses import dataclass
from typing import Any

from lit_rlvr.rollout.vllm.library import SUPPORTED, is_supported
from lit_rlvr.rollout.vllm.server.generation import Generated, GenerateRequest, from_json, to_json
from lit_rlvr.rollout.vllm.server.http import ServerFailed, ServerHTTP, UnknownHost

FLAGS = (
    "--worker-extension-cls lit_rlvr.rollout.vllm.sync.worker.WorkerExtension --logprobs-mode processed_logprobs --enable-scale-out "
    "--enable-prompt-tokens-details"
)
"""What a server must be started with, besides VLLM_SERVER_DEV_MODE=1 in its environment."""
UPDATE_TIMEOUT_S = 600.0
"""Seconds that one part of an update of the weights may take: a pause, a file, a proof."""
PROBE_TIMEOUT_S = 30.0
"""Seconds a busy server may take to say how it is."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself."""

    version: str
    dtype: str
    """Type of its weights, such as `float32`."""
    max_model_len: int
    world_size: int
    """Number of its workers."""


class ServerClient(ServerHTTP):
    """One vLLM server of the OpenAI kind, with the endpoints for reinforcement learning (VLLM_SERVER_DEV_MODE=1).

    Completions come from `/inference/v1/generate`: token ids in, token ids out, log-probs as the engine computed them, and the label
    of the weights that sampled each token. `/v1/completions` has no such labels.

    Args:
        url: `http://host:port`.
        api_key: the key the server asks for; empty for none.
        request_timeout_s: seconds an answer may take.
    """

    def __init__(self, url: str, api_key: str = "", request_timeout_s: float = 3600.0) -> None:
        super().__init__(url, api_key)
        self.request_timeout_s = request_timeout_s

    def facts(self) -> ServerFacts:
        """Return what the server is.

        Raises:
            ValueError: it is no vLLM server, of a version that is not supported, or was started without the flags it needs.
            PermissionError: the key was refused.
            ServerFailed: nobody answers.
        """
        version = self._version()
        try:
            config = self.ask("GET", "/server_info?config_format=json", timeout_s=PROBE_TIMEOUT_S)["vllm_config"]
            model, parallel = config["model_config"], config["parallel_config"]
            mode, extension = str(model["logprobs_mode"]), str(parallel.get("worker_extension_cls"))
            facts = ServerFacts(
                version=version,
                dtype=str(model["dtype"]).removeprefix("torch."),
                max_model_len=int(model["max_model_len"]),
                world_size=int(parallel["world_size"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong_start(f"it does not tell its configuration ({error})") from None
        if not mode.endswith("processed_logprobs"):
            raise self._wrong_start(f"its log-probs are {mode}: not those of the distribution that is sampled from")
        if str(config.get("device_config", {}).get("device")) == "cpu" and config["scheduler_config"]["enable_chunked_prefill"]:
            raise self._wrong_start(
                "vLLM's CPU build dies when the prompt of a request with a seed is computed in several steps: add "
                "--no-enable-chunked-prefill"
            )
        if not extension.endswith("WorkerExtension"):
            raise self._wrong_start(f"its worker extension is {extension}: it cannot take over weights")
        try:
            self.ask("POST", "/inference/v1/abort_requests", {"request_ids": []}, PROBE_TIMEOUT_S)
        except ValueError as error:
            raise self._wrong_start(str(error)) from None
        return facts

    def weight_label(self) -> str:
        """Return the label that its weights were given last; `default` when nobody has."""
        return str(self.ask("GET", "/weight_info", timeout_s=PROBE_TIMEOUT_S).get("weight_version"))

    def set_weight_label(self, label: str) -> None:
        """Name the weights that it computes with from now on."""
        self.ask("POST", "/update_weight_version", {"new_version": label})

    def pause(self) -> None:
        """Stop computing, with the requests in progress kept."""
        self.ask("POST", "/pause?mode=keep", timeout_s=UPDATE_TIMEOUT_S)

    def resume(self) -> None:
        """Go on with the requests in progress."""
        self.ask("POST", "/resume")

    def reset_prefix_cache(self) -> None:
        """Forget all keys and values; those of requests in progress will be computed anew.

        Raises:
            ServerFailed: it did not.
        """
        answer = self.ask("POST", "/reset_prefix_cache?reset_running_requests=true&reset_external=true")
        if not answer.get("success"):
            raise ServerFailed(f"{self.url} kept its prefix cache: {answer}")

    def call_workers(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of the worker extension on every worker, and return what each returned (numbers as strings)."""
        body = {"method": method, "args": list(arguments)}
        return list(self.ask("POST", "/collective_rpc", body, UPDATE_TIMEOUT_S).get("results", []))

    def generate(self, request: GenerateRequest) -> Generated:
        """Sample one completion.

        Raises:
            ValueError: the server refuses the request.
            ServerFailed: it did not finish it.
            FloatingPointError: a log-prob is not a number: neither are the logits.
        """
        answer = self.ask("POST", "/inference/v1/generate", to_json(request), self.request_timeout_s)
        try:
            return from_json(answer, request)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise ServerFailed(f"{self.url} gave an answer without {error}: {str(answer)[:300]}") from None

    def _version(self) -> str:
        try:
            version = str(self.ask("GET", "/version", timeout_s=PROBE_TIMEOUT_S)["version"])
        except (KeyError, ValueError, UnknownHost) as error:
            raise ValueError(f"{self.url} is not a vLLM server: {error}") from None
        except ServerFailed as error:
            if "not JSON" not in str(error) and "BadStatusLine" not in str(error):
                raise
            raise ValueError(f"{self.url} is not a vLLM server: {error}") from None
        if not is_supported(version):
            raise ValueError(f"{self.url} runs vLLM {version}; this engine is written for vllm{SUPPORTED}")
        return version

    def _wrong_start(self, reason: str) -> ValueError:
        return ValueError(
            f"vLLM server {self.url} was not started as this engine needs it: {reason}. Start it with VLLM_SERVER_DEV_MODE=1 in its "
            f"environment and {FLAGS}, in a trusted network: these endpoints let anyone replace the weights"
        )
