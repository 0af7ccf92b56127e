"""vLLM servers, launched by the engine or found by address, that are known to hold the policy's current weights."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.vllm.sampling import check_vllm_requests
from lit_rlvr.rollout.vllm.server.fleet import ServerFleet
from lit_rlvr.rollout.vllm.server.generation import Generated, GenerateRequest
from lit_rlvr.rollout.vllm.server.pool import ServerPool
from lit_rlvr.rollout.vllm.server.settings import ServerDtype, ServerSettings, Transfer
from lit_rlvr.types import Completion, Prompt, RolloutPolicy


class VLLMServerEngine(RolloutEngine):
    """Samples from one or many vLLM servers, and lives through the death of any of them.

    The first rank launches the servers (or contacts those at `urls`), gives them the policy's weights and proves that they have
    them: fingerprints of what arrived and of what each server computes with, a canary that would show keys and values of older
    weights, and log-probs compared with the policy's. Every rank sends its own requests to all servers. Each token comes back with
    the label of the weights that sampled it, so a completion of a server that has other weights than the current ones (it was
    restarted, or another trainer uses it) is refused.

    A completion depends on its seed, not on its server. When a server dies, what it was working on is sampled again by another one;
    a launched server is started again, found ones are waited for, and each is given the current weights, with proof, before it is
    asked anything. Nothing of a launched server outlives the trainer, not even one killed with -9.

    With `update_weights` during `generate` (in another thread) the completions in progress go on with the new weights, over keys
    and values that are computed anew; `token_versions` tells them apart.

    Servers at `urls` must be started with VLLM_SERVER_DEV_MODE=1 and
    `--worker-extension-cls lit_rlvr.rollout.vllm.sync.worker.WorkerExtension --logprobs-mode processed_logprobs --enable-scale-out
    --enable-prompt-tokens-details` (any `--load-format`: weights are sent), and better with `--scheduling-policy priority`. That opens
    endpoints with which anyone may replace the weights, which vLLM's `--api-key` does not guard: keep them in a trusted network, or
    add `--middleware lit_rlvr.rollout.vllm.server.guard.RequireKey` with VLLM_API_KEY in the environment. Launched servers listen on
    this machine only, and ask for a key that nobody else knows.

    Args:
        urls: addresses of running servers, `http://host:port`.
        launch: launch servers on this machine instead. For trainers on one machine.
        num_servers: how many to launch.
        first_port: launched servers listen on this port and those after it; 0 takes free ones.
        server_args: more flags of launched servers, as `{tensor_parallel_size: 2, gpu_memory_utilization: 0.9}`.
        devices: GPUs of each launched server, as `[[2, 3], [4, 5]]`; None leaves it to CUDA_VISIBLE_DEVICES, the same for all.
        transfer: how weights travel. `files`: one copy written for all servers. `nccl`: from GPU to GPU with vLLM's own transfer, for
            servers on other GPUs than the trainer's; not tried on a GPU yet. `auto` is `files`.
        weights_dir: folder or fsspec URL for the files, which servers reach under the same name; /dev/shm/NAME is fastest where all
            run on this machine and it is large enough. None takes a temporary folder, for launched servers. Two versions of the
            weights exist for a moment.
        dtype: what launched servers compute in, or found ones must; `auto` is the policy's type, or whatever found ones have.
        max_model_len: most tokens of a prompt and its completion; by default what the servers allow.
        request_timeout_s: seconds a completion may take, waiting for its turn included.
        max_retries: how often a completion whose server failed is sent again before the run stops: it may be what kills them.
        startup_timeout_s: seconds a launched server may take to answer.
        outage_timeout_s: seconds to wait while no server at all is fit to be asked, before the run stops.
        bucket_mb: size of a portion of weights, in MiB.
        max_in_flight: most requests of each rank at once to each server.
        compare_logprobs_every: compare log-probs with the policy's in every n-th update; 0 compares in each server's first only.
        api_key: the key of the servers at `urls`; launched ones get a random one where it is not given.
        log_dir: folder for the output of launched servers. None takes a temporary one, which goes when the engine is closed.

    Raises:
        ValueError: settings that contradict each other.
    """

    can_overlap = True
    can_update_midway = True

    def __init__(
        self,
        urls: list[str] | None = None,
        launch: bool = False,
        num_servers: int = 1,
        first_port: int = 0,
        server_args: dict[str, Any] = {},  # noqa: B006 - never changed
        devices: list[list[int]] | None = None,
        transfer: Transfer = "auto",
        weights_dir: str | None = None,
        dtype: ServerDtype = "auto",
        max_model_len: int | None = None,
        request_timeout_s: float = 3600.0,
        max_retries: int = 3,
        startup_timeout_s: float = 900.0,
        outage_timeout_s: float = 1200.0,
        bucket_mb: int = 256,
        max_in_flight: int = 256,
        compare_logprobs_every: int = 0,
        api_key: str | None = None,
        log_dir: str | None = None,
    ) -> None:
        self.settings = ServerSettings(
            urls=tuple(urls or ()),
            launch=launch,
            num_servers=num_servers,
            first_port=first_port,
            server_args=dict(server_args),
            devices=devices,
            transfer=transfer,
            weights_dir=weights_dir,
            dtype=dtype,
            max_model_len=max_model_len,
            request_timeout_s=request_timeout_s,
            max_retries=max_retries,
            startup_timeout_s=startup_timeout_s,
            outage_timeout_s=outage_timeout_s,
            bucket_mb=bucket_mb,
            max_in_flight=max_in_flight,
            compare_logprobs_every=compare_logprobs_every,
            api_key=api_key or "",
            log_dir=log_dir,
        )
        self._fleet: ServerFleet | None = None
        self._num_sent_again_before = 0

    @property
    def num_sent_again(self) -> int:
        """Completions that this rank asked for again because their server failed, so far."""
        pool = self._fleet.pool if self._fleet is not None else None
        return self._num_sent_again_before + (pool.num_sent_again if pool is not None else 0)

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Give all servers the policy's weights, and prove that they have them; the first time, launch or contact the servers.

        Every rank must call it: sharded weights are gathered. A server that fails meanwhile is given them once it is back.

        Raises:
            ValueError: a server is not what the settings say.
            RuntimeError: no server answers, or a launched one could not be started; tells the end of its log. On the other ranks:
                the first rank failed.
            WeightSyncError: a server does not hold the policy's weights, or uses something computed with older ones.
        """
        if self._fleet is None:
            self._fleet = ServerFleet(self.settings)
        try:
            self._fleet.update(policy, version)
        except BaseException:
            self.weight_version = -1
            raise
        self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        """Sample completions; see `RolloutEngine.generate`.

        Raises:
            ValueError: no weights yet; a prompt without tokens, with tokens outside the vocabulary, or too long; a temperature that
                vLLM does not follow; `seeds` that do not fit the prompts.
            FloatingPointError: the model's logits are NaN or infinite.
            RuntimeError: no server was fit for too long, or a completion failed on every server that tried; tells why.
        """
        if self._fleet is None or self._fleet.pool is None or self.weight_version < 0:
            if not prompts:
                return []
            raise ValueError("the engine holds no weights: call update_weights before generate")
        pool = self._fleet.pool
        check_vllm_requests(prompts, params, seeds, self._fleet.vocab_size, self._fleet.max_model_len)
        stops = tuple(stop_token_ids)
        requests = {
            (p, g): GenerateRequest(tuple(prompt.token_ids), params, seed, stops, f"prompt {prompt.id!r}, member {g}")
            for p, (prompt, row) in enumerate(zip(prompts, seeds, strict=True))
            for g, seed in enumerate(row)
        }
        completions = self._sample(pool, requests)
        return [[completions[p, g] for g in range(len(row))] for p, row in enumerate(seeds)]

    def _sample(self, pool: ServerPool, requests: dict[tuple[int, int], GenerateRequest]) -> dict[tuple[int, int], Completion]:
        """Sample all at once, as far as the servers take them, and tell of each as soon as it is there."""
        completions: dict[tuple[int, int], Completion] = {}
        is_cancelled = threading.Event()
        num_threads = max(1, min(len(requests), pool.max_in_flight * len(pool.servers)))
        with ThreadPoolExecutor(num_threads, thread_name_prefix="vllm-request") as threads:
            futures = {threads.submit(pool.run, request, place[0], is_cancelled): place for place, request in requests.items()}
            try:
                for future in as_completed(futures):
                    p, g = futures[future]
                    completions[p, g] = _completion(future.result(), requests[p, g].params, pool)
                    self._report(p, g, completions[p, g], len(completions), len(requests))
            except BaseException:
                is_cancelled.set()
                for future in futures:
                    future.cancel()
                pool.abort()
                raise
        return completions

    def _report(self, prompt: int, member: int, completion: Completion, num_finished: int, num_all: int) -> None:
        if self.on_completion is not None:
            self.on_completion(prompt, member, completion)
        if self.on_progress is not None:
            self.on_progress(num_finished, num_all)

    def close(self) -> None:
        """End launched servers, leave found ones alone, and delete the files. The next `update_weights` starts anew."""
        self.weight_version = -1
        self._num_sent_again_before = self.num_sent_again
        if self._fleet is not None:
            self._fleet.close()
            self._fleet = None


def _completion(generated: Generated, params: SamplingParams, pool: ServerPool) -> Completion:
    versions = tuple(pool.labels.version(label) for label in generated.labels)
    return Completion(
        token_ids=generated.token_ids,
        # A greedy token is sampled from a distribution that has all its mass on it.
        logprobs=(0.0,) * len(generated.token_ids) if params.temperature == 0 else generated.logprobs,
        finish_reason="stop" if generated.is_stopped else "length",
        weight_version=min(versions),
        semantics=params.semantics,
        token_versions=versions if len(set(versions)) > 1 else (),
    )
