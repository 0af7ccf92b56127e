"""One completion in the words of vLLM's `/inference/v1/generate`, there and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.http import ServerFailed


@dataclass(frozen=True)
class GenerateRequest:
    """One completion to be sampled."""

    token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    stop_token_ids: tuple[int, ...]
    name: str
    """For messages."""
    is_urgent: bool = False
    """True for a request that may overtake others, where the server has priorities."""


@dataclass(frozen=True)
class Generated:
    """What a server sampled."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Under the distribution that was sampled from; floats as the server computed them, not rounded."""
    is_stopped: bool
    """True when a stop token ended it, False when it was cut."""
    labels: tuple[str, ...]
    """Label of the weights that sampled each token."""
    num_cached_tokens: int
    """Tokens of the prompt whose keys and values were not computed anew."""


def to_json(request: GenerateRequest) -> dict[str, Any]:
    """Return the body that asks for it: one completion by its own seed, no other stop tokens than ours."""
    sampling = {
        "max_tokens": request.params.max_tokens,
        "temperature": request.params.temperature,
        "top_p": request.params.top_p,
        "top_k": request.params.top_k,
        "seed": request.seed,
        "stop_token_ids": list(request.stop_token_ids),
        "ignore_eos": True,
        "logprobs": 0,
        "detokenize": False,
    }
    return {"token_ids": list(request.token_ids), "sampling_params": sampling, "priority": -1 if request.is_urgent else 0}


def from_json(answer: dict[str, Any], request: GenerateRequest) -> Generated:
    """Return what the answer says.

    Raises:
        ServerFailed: the request was not finished, or its parts contradict each other.
        FloatingPointError: a log-prob is not a number: neither are the logits.
        KeyError, IndexError, TypeError, AttributeError, ValueError: something is missing, or has another form.
    """
    (choice,) = answer["choices"]
    if choice["finish_reason"] not in ("stop", "length"):
        raise ServerFailed(f"{request.name}: ended with {choice['finish_reason']!r} instead of finishing")
    tokens = tuple(int(token) for token in choice["token_ids"])
    content = choice["logprobs"]["content"]
    logprobs = tuple(float(entry["logprob"]) for entry in content)
    if [entry["token_id"] for entry in content] != list(tokens):
        raise ServerFailed(f"{request.name}: log-probs of other tokens than those it returned")
    # The server writes -9999 for what is not a number.
    wrong = next((place for place, value in enumerate(logprobs) if not (math.isfinite(value) and value > -9998)), None)
    if wrong is not None:
        raise FloatingPointError(
            f"{request.name}: token {wrong} of {len(tokens)} has no finite log-prob: the model's logits are NaN or infinite (diverged "
            "weights?)"
        )
    labels = _labels(choice["weight_versions"], len(tokens))
    cached = (answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens")
    return Generated(tokens, logprobs, choice["finish_reason"] == "stop", labels, -1 if cached is None else int(cached))


def _labels(spans: Sequence[dict[str, Any]] | None, num_tokens: int) -> tuple[str, ...]:
    labels = tuple(str(span["version"]) for span in spans or () for _ in range(int(span["start"]), int(span["end"])))
    if len(labels) != num_tokens:
        raise ServerFailed(f"it tells the weights of {len(labels)} tokens out of {num_tokens}")
    return labels
