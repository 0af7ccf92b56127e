"""One vLLM of this process, from its building to its end."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.building import build_llm, causal_lm_inside, shut_down
from lit_rlvr.rollout.vllm.isolation import TurnsByArrival, collect_garbage, randomness_kept
from lit_rlvr.rollout.vllm.library import is_cpu_build
from lit_rlvr.rollout.vllm.sampling import to_completion, to_vllm
from lit_rlvr.rollout.vllm.stepping import RequestLoop
from lit_rlvr.rollout.vllm.sync.canary import Canary
from lit_rlvr.rollout.vllm.sync.proof import PolicyFingerprints, compare
from lit_rlvr.rollout.vllm.tensor_parallel import EngineRanks
from lit_rlvr.rollout.weight_buckets import weight_buckets
from lit_rlvr.types import RolloutPolicy


class VLLMInstance:
    """A running `vllm.LLM`, its requests, and its weights. Everything but `loop.run` is called in turn.

    Args:
        policy: whose architecture it has.
        dtype: what it computes in.
        arguments: of `vllm.LLM`, those that say how it runs.
        turns: whoever holds it is alone with vLLM.
        compare_logprobs_every: see `Canary`.

    Raises:
        RuntimeError: another one of this process is alive.
    """

    _living: ClassVar["weakref.ref[VLLMInstance] | None"] = None

    def __init__(
        self,
        policy: RolloutPolicy,
        dtype: torch.dtype,
        arguments: Mapping[str, Any],
        turns: TurnsByArrival,
        compare_logprobs_every: int,
    ) -> None:
        if _is_alive(VLLMInstance._living):
            raise RuntimeError(
                "another VLLMEngine of this process is alive, and vLLM's state belongs to the process: close() that one first, or take "
                "VLLMServerEngine, whose engines have processes of their own"
            )
        config = causal_lm_inside(policy.model).config
        on_cpu = is_cpu_build()
        self.dtype = dtype
        self.blueprint = blueprint_of(policy, dtype)
        self.vocab_size: int = config.get_text_config(decoder=True).vocab_size
        self.ranks = EngineRanks.of(arguments["tensor_parallel_size"])
        self.is_asleep = False
        device = None if on_cpu else torch.device("cuda", next(policy.model.parameters()).device.index or 0)
        self.inside = partial(_inside, on_cpu and bool(arguments["enforce_eager"]), device)
        self._folder = TemporaryDirectory(prefix="lit_rlvr_vllm_")
        had_group = dist.is_initialized()
        with self.inside():
            own = {"dtype": dtype, "distributed_executor_backend": self.ranks.executor(on_cpu)}
            self.llm = build_llm(policy, self._folder.name, {**arguments, **own})
        self.max_model_len: int = self.llm.model_config.max_model_len
        self.loop = RequestLoop(self.llm, turns, self.inside)
        block_size = self.llm.llm_engine.vllm_config.cache_config.block_size
        self._canary = Canary(self.max_model_len, self.vocab_size, dtype, block_size, compare_logprobs_every)
        self._end = weakref.finalize(self, shut_down, self.llm, had_group)
        # At the end of the process vLLM cleans up by itself.
        self._end.atexit = False
        VLLMInstance._living = weakref.ref(self)

    def load(self, policy: RolloutPolicy, version: int, bucket_bytes: int) -> None:
        """Take the policy's weights over, prove that they are there, and forget what was computed with older ones.

        Raises:
            WeightSyncError: the weights are not the policy's, or something computed with older ones is still in use.
        """
        try:
            with self.inside():
                self._copy(policy, version, bucket_bytes)
                self.loop.failure = None
                self._canary.check(self._sample, policy)
        except BaseException as failure:
            self.loop.failure = failure
            raise

    def _copy(self, policy: RolloutPolicy, version: int, bucket_bytes: int) -> None:
        llm = self.llm
        if self.is_asleep:
            llm.wake_up(tags=["weights"])
        expected = PolicyFingerprints(self.dtype, version)
        llm.collective_rpc("lit_begin_update")
        for bucket in weight_buckets(expected.watch(policy.named_weights()), bucket_bytes):
            llm.collective_rpc("lit_load_tensors", args=(bucket,))
            del bucket
        llm.collective_rpc("lit_finish_update", args=(version,))
        if self.is_asleep:
            llm.wake_up(tags=["kv_cache"])
            self.is_asleep = False
        # Requests in progress go back to the queue: their keys and values are computed again, with these weights.
        llm.reset_prefix_cache(reset_running_requests=True)
        llm.update_weight_version(str(version))
        compare(expected, [rows for found in self.ranks.gather(llm.collective_rpc("lit_fingerprints")) for rows in found])

    def _sample(self, token_ids: list[int], max_tokens: int) -> tuple[Sequence[int], Sequence[float], int]:
        """Generate from a prompt, beside whatever else is going on; the way the canary asks."""
        params = SamplingParams(max_tokens)
        (name,) = self.loop.submit([(token_ids, to_vllm(params, 0, ()))], is_urgent=True)
        finished: dict[str, Any] = {}
        while not finished:
            finished = self.loop.step([name])
        completion = to_completion(finished[name], params, -1, "the canary")
        return completion.token_ids, completion.logprobs, finished[name].num_cached_tokens or 0

    def sleep(self) -> None:
        """Give up weights and cache until the next load."""
        with self.inside():
            self.llm.sleep(level=2)
        self.is_asleep = True

    def end(self) -> None:
        """Stop vLLM and give back its memory. Whoever waits for a completion fails."""
        self.loop.failure = RuntimeError("the engine was closed")
        self._end()
        self.ranks.part()
        del self.llm
        VLLMInstance._living = None
        self._folder.cleanup()
        collect_garbage()


def _is_alive(living: "weakref.ref[VLLMInstance] | None") -> bool:
    """Tell whether another instance is still wanted: one that was forgotten goes with the garbage, and ends in passing."""
    if living is None or living() is None:
        return False
    collect_garbage()
    return living() is not None


@contextmanager
def _inside(runs_eagerly: bool, device: torch.device | None) -> Iterator[None]:
    """Return the context of everything that vLLM does. Whoever enters it holds the turn: torch's stance belongs to the process."""
    with ExitStack() as stack:
        stack.enter_context(randomness_kept())
        if runs_eagerly:
            # Some of vLLM's functions are compiled even then, which takes a C++ compiler.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if device is not None:
            stack.enter_context(torch.cuda.device(device))
        yield


def blueprint_of(policy: RolloutPolicy, dtype: torch.dtype) -> tuple[dict[str, Any], torch.dtype]:
    """Return what an engine is built for: with another architecture, or in another type, it has to be built anew."""
    config = causal_lm_inside(policy.model).config.to_dict()
    return {name: value for name, value in config.items() if name not in ("dtype", "_name_or_path")}, dtype
