"""vLLM inside the trainer's process, with weights of its own that are known to be the policy's."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal

import torch

from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.vllm.building import OWN_ARGUMENTS, check_extra, check_settings
from lit_rlvr.rollout.vllm.instance import VLLMInstance, blueprint_of
from lit_rlvr.rollout.vllm.isolation import TurnsByArrival, check_process_group
from lit_rlvr.rollout.vllm.library import is_cpu_build
from lit_rlvr.rollout.vllm.sampling import check_vllm_requests, to_completion, to_vllm
from lit_rlvr.rollout.vllm.tensor_parallel import Request
from lit_rlvr.types import Completion, Prompt, RolloutPolicy

EngineDtype = Literal["auto", "float32", "bfloat16", "float16"]


class VLLMEngine(RolloutEngine):
    """Samples with vLLM in every training process, beside the model that is trained.

    Nothing is loaded from disk: the engine is built at the first `update_weights`, from the policy's configuration, and each update
    copies the policy's weights over in portions. After each update the engine's weights are proven to be the policy's: they are
    compared bit by bit where they can be read back, the caches of older weights are shown to be gone, and (now and then) log-probs
    of the engine are compared with the policy's. Whatever differs is a `WeightSyncError`.

    Updates may come while another thread generates (`can_update_midway`): the completions in progress go on with the new weights,
    their keys and values are computed anew, and their `token_versions` tell which token came from which. With tensor parallelism the
    ranks of an engine step in time with each other, so there is no generating beside training.

    vLLM is a guest in the trainer's process. Random states, the thread setter, the garbage collector and the trainer's process group
    are put back after every call (random states not while another thread generates: on the CPU vLLM then draws from torch's global
    generator). What cannot be undone while the process lives: `torch.accelerator.synchronize` and `empty_cache` do nothing on the
    CPU, and a few environment variables are set (`VLLM_*`, `TORCHINDUCTOR_COMPILE_THREADS`, `NUMEXPR_MAX_THREADS`). Where there is no
    process group, vLLM makes one of one process; it goes with the engine.

    Tested with the CPU build of vLLM 0.32: one process, DDP, FSDP2, and one engine of two ranks. What is for GPUs only
    (`sleep_while_training`, CUDA graphs, the choice of the GPU) follows vLLM's source and has not been run on one.

    Args:
        max_model_len: most tokens of a prompt and its completion; by default what the model's configuration allows. The cache must
            hold at least one such sequence.
        dtype: what vLLM computes in. `auto`: what the policy computes in, with autocast that type.
        gpu_memory_utilization: share of the GPU's memory for vLLM (weights, activations and cache together); the rest is training's.
        kv_cache_gb: size of the cache of keys and values in GiB, instead of what `gpu_memory_utilization` leaves; on the CPU 1 by
            default.
        tensor_parallel_size: that many consecutive ranks hold one engine together; for models that one GPU cannot hold twice.
        enforce_eager: do without CUDA graphs and torch.compile: starts sooner, generates slower. None: so on the CPU, where compiling
            takes a C++ compiler and most of a minute, and not on a GPU.
        enable_prefix_caching: compute the prompt of a group once.
        max_num_seqs: most completions generated at once; the others wait.
        sleep_while_training: give up weights and cache, and with them the GPU's memory, when an iteration's rollouts are complete,
            and take both back at the next update. GPUs only.
        bucket_mb: size of a portion of weights in an update, in MiB.
        compare_logprobs_every: compare log-probs with the policy's at every so many updates; 0: at the first one only.
        extra: more arguments of `vllm.LLM`.

    Raises:
        ValueError: a size that is not positive.
    """

    def __init__(
        self,
        max_model_len: int | None = None,
        dtype: EngineDtype = "auto",
        gpu_memory_utilization: float = 0.45,
        kv_cache_gb: float | None = None,
        tensor_parallel_size: int = 1,
        enforce_eager: bool | None = None,
        enable_prefix_caching: bool = True,
        max_num_seqs: int = 256,
        sleep_while_training: bool = False,
        bucket_mb: int = 256,
        compare_logprobs_every: int = 0,
        extra: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        check_settings(
            positive={
                "max_model_len": max_model_len,
                "kv_cache_gb": kv_cache_gb,
                "tensor_parallel_size": tensor_parallel_size,
                "max_num_seqs": max_num_seqs,
                "bucket_mb": bucket_mb,
            },
            gpu_memory_utilization=gpu_memory_utilization,
            compare_logprobs_every=compare_logprobs_every,
        )
        self.max_model_len = max_model_len
        self.dtype = dtype
        self.gpu_memory_utilization = gpu_memory_utilization
        self.kv_cache_gb = kv_cache_gb
        self.tensor_parallel_size = tensor_parallel_size
        self.enforce_eager = enforce_eager
        self.enable_prefix_caching = enable_prefix_caching
        self.max_num_seqs = max_num_seqs
        self.sleep_while_training = sleep_while_training
        self.bucket_mb = bucket_mb
        self.compare_logprobs_every = compare_logprobs_every
        self.extra = dict(extra)
        self.can_overlap = self.can_update_midway = tensor_parallel_size == 1 and not sleep_while_training
        self._turns = TurnsByArrival()
        self._instance: VLLMInstance | None = None

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Take over the policy's weights, prove that they are there, and forget what was computed with older ones.

        Raises:
            ImportError: vLLM is missing, or of a version that is not supported.
            RuntimeError: another engine of this process is alive; the process group is missing or too small.
            ValueError: vLLM cannot run with the settings.
            WeightSyncError: the engine does not hold the policy's weights, or uses something computed with older ones.
        """
        check_process_group()
        with self._turns:
            self.weight_version = -1
            dtype = self._dtype_for(policy)
            if self._instance is not None and self._instance.blueprint != blueprint_of(policy, dtype):
                self._end()
            if self._instance is None:
                self._instance = self._build(policy, dtype)
            self._instance.load(policy, version, self.bucket_mb * 2**20)
            self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        """Sample completions; see `RolloutEngine.generate`.

        A completion depends on its own seed and not on what else is in the call, but for rounding: in half precision a batch of
        another size may round logits in another way.

        Raises:
            ValueError: no weights (yet, or after `release_memory`); a prompt without tokens, with tokens outside the vocabulary, or too
                long for `max_model_len`; a temperature that vLLM does not follow; `seeds` that do not fit the prompts.
            FloatingPointError: the model's logits are NaN or infinite.
        """
        instance = self._instance
        if instance is None or instance.is_asleep:
            if not prompts:
                return []
            raise ValueError("the engine holds no weights: call update_weights before generate")

        def wanted() -> list[Request]:
            check_vllm_requests(prompts, params, seeds, instance.vocab_size, instance.max_model_len)
            stops = tuple(stop_token_ids)
            return [Request(p.token_ids, params, seed, stops) for p, row in zip(prompts, seeds, strict=True) for seed in row]

        requests, mine = instance.ranks.share(wanted)
        with self._turns:
            names = instance.loop.submit([(r.token_ids, to_vllm(r.params, r.seed, r.stop_token_ids)) for r in requests])
        places = [(p, g) for p, row in enumerate(seeds) for g in range(len(row))]
        place_of = dict(zip((names[number] for number in mine), places, strict=True))
        completions: dict[tuple[int, int], Completion] = {}
        with closing(instance.loop.run(names)) as finished:
            for name, output in finished:
                if name in place_of:
                    p, g = place_of[name]
                    label = f"prompt {prompts[p].id!r}, member {g}"
                    completions[p, g] = to_completion(output, params, self.weight_version, label)
                    self._report(p, g, completions[p, g], len(completions), len(places))
        return [[completions[p, g] for g in range(len(row))] for p, row in enumerate(seeds)]

    def _report(self, prompt: int, member: int, completion: Completion, num_finished: int, num_all: int) -> None:
        if self.on_completion is not None:
            self.on_completion(prompt, member, completion)
        if self.on_progress is not None:
            self.on_progress(num_finished, num_all)

    def release_memory(self) -> None:
        """Give up weights and cache until the next update, where `sleep_while_training` is set."""
        if self.sleep_while_training and self._instance is not None and not self._instance.is_asleep:
            with self._turns:
                self.weight_version = -1
                self._instance.sleep()

    def close(self) -> None:
        """End vLLM and give back what it holds. The next `update_weights` builds it anew."""
        with self._turns:
            self.weight_version = -1
            self._end()

    def _end(self) -> None:
        if self._instance is not None:
            self._instance.end()
            self._instance = None

    def _build(self, policy: RolloutPolicy, dtype: torch.dtype) -> VLLMInstance:
        on_cpu = is_cpu_build()
        check_extra(self.extra, OWN_ARGUMENTS)
        if self.sleep_while_training and on_cpu:
            raise ValueError(
                "data.engine.init_args.sleep_while_training frees the memory of GPUs; this vLLM runs on the CPU, which has no such mode"
            )
        kv_cache_gb = 1.0 if self.kv_cache_gb is None and on_cpu else self.kv_cache_gb
        arguments = {
            "max_model_len": self.max_model_len,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "kv_cache_memory_bytes": None if kv_cache_gb is None else int(kv_cache_gb * 2**30),
            "tensor_parallel_size": self.tensor_parallel_size,
            "enforce_eager": on_cpu if self.enforce_eager is None else self.enforce_eager,
            "enable_prefix_caching": self.enable_prefix_caching,
            "max_num_seqs": self.max_num_seqs,
            "enable_sleep_mode": self.sleep_while_training,
            # vLLM's CPU build fails when the prompt of a request with a seed is computed in several steps.
            **({"enable_chunked_prefill": False} if on_cpu else {}),
            **self.extra,
        }
        return VLLMInstance(policy, dtype, arguments, self._turns, self.compare_logprobs_every)

    def _dtype_for(self, policy: RolloutPolicy) -> torch.dtype:
        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if policy.compute_dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise ValueError(
                f"vLLM does not compute in {policy.compute_dtype}, as the policy does: set data.engine.init_args.dtype"
            )
        return policy.compute_dtype
