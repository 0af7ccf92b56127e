"""Between our words for sampling and vLLM's: what is asked of it, and what comes back."""

import math
from collections.abc import Sequence
from typing import Any

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.request_check import LengthLimit, check_requests
from lit_rlvr.types import Completion, Prompt

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
"""Bounds of vLLM's sampler: it raises what is lower (but 0) silently, and refuses what is higher."""


def check_vllm_requests(
    prompts: Sequence[Prompt],
    params: SamplingParams,
    seeds: Sequence[Sequence[int]],
    vocab_size: int,
    max_model_len: int,
) -> None:
    """Refuse what vLLM could not sample, or would sample in another way than asked.

    Raises:
        ValueError: a temperature vLLM does not follow; a prompt without tokens, with tokens outside the vocabulary, or too long for
            `max_model_len`; `seeds` that do not fit the prompts.
    """
    if params.temperature != 0 and not MIN_TEMPERATURE <= params.temperature <= MAX_TEMPERATURE:
        raise ValueError(
            f"vLLM samples at temperature 0 (greedy) or from {MIN_TEMPERATURE} to {MAX_TEMPERATURE}, got {params.temperature}"
        )
    limit = LengthLimit("the engine's max_model_len", max_model_len, "raise it (data.engine.init_args.max_model_len), ")
    check_requests(prompts, params, seeds, vocab_size, limit)


def to_vllm(params: SamplingParams, seed: int, stop_token_ids: Sequence[int]) -> Any:
    """Return vLLM's sampling parameters for one completion: its log-probs, its own seed, and no other stop tokens than ours."""
    from vllm import SamplingParams as VLLMSamplingParams
    from vllm.sampling_params import RequestOutputKind

    return VLLMSamplingParams(
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        # On the CPU torch's generators take the low 32 bits of a seed only.
        seed=seed ^ (seed >> 32),
        stop_token_ids=list(stop_token_ids),
        ignore_eos=True,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def to_completion(output: Any, params: SamplingParams, version: int, name: str) -> Completion:
    """Return what vLLM generated for one request.

    Args:
        output: its finished `RequestOutput`.
        params: how it was sampled.
        version: of the weights, where vLLM does not say.
        name: of the completion, for messages.

    Raises:
        FloatingPointError: a log-prob is not a number: neither are the logits.
        RuntimeError: vLLM gave up on the request.
    """
    result = output.outputs[0]
    if result.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"{name}: vLLM ended the request with {result.finish_reason!r} instead of finishing it")
    tokens = tuple(int(token) for token in result.token_ids)
    logprobs = tuple(result.logprobs.logprobs[start] for start in result.logprobs.start_indices)
    wrong = next((place for place, logprob in enumerate(logprobs) if not math.isfinite(logprob)), None)
    if wrong is not None or len(logprobs) != len(tokens):
        raise FloatingPointError(
            f"{name}: token {wrong} of {len(tokens)} has no finite log-prob: the model's logits are NaN or infinite (diverged weights?)"
        )
    # A greedy token is sampled from a distribution that has all its mass on it.
    if params.temperature == 0:
        logprobs = (0.0,) * len(tokens)
    versions = token_versions(result.weight_versions, len(tokens), version)
    return Completion(
        token_ids=tokens,
        logprobs=logprobs,
        finish_reason=result.finish_reason,
        weight_version=min(versions, default=version),
        semantics=params.semantics,
        token_versions=versions if len(set(versions)) > 1 else (),
    )


def token_versions(spans: Sequence[Any] | None, num_tokens: int, version: int) -> tuple[int, ...]:
    """Return the version of the weights that sampled each token, from the spans that vLLM keeps of the versions it was told."""
    if not spans:
        return (version,) * num_tokens
    versions = [int(span.version) for span in spans for _ in range(span.start, span.end)]
    if len(versions) != num_tokens:
        raise RuntimeError(f"vLLM tells the versions of {len(versions)} tokens of a completion that has {num_tokens}")
    return tuple(versions)
