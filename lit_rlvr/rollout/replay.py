"""Recorded rollouts instead of generated ones: the same experience for another objective, or the same run again without an engine."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import fsspec

from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, RolloutPolicy

Key = tuple[str, int]
"""What a stored completion is found by: the prompt's id and the sampling seed."""

ALL_FILES = "iteration_*.jsonl.gz"
"""The files of a recording."""
ADVICE = (
    "A replay asks for the same completions as the recorded run only if whatever decides prompts and seeds is the same: data.seed, "
    "data.train, data.iteration (num_prompts, prompts_per_round, group_size, max_rounds), and as many rounds of filters and "
    "drop_truncated, whose verdicts come from the rewards. Only training rollouts are stored: data.val must be null."
)


class ReplayEngine(RolloutEngine):
    """Returns the completions that `ReplayLog` stored, looked up by the prompt's id and the sampling seed; nothing is generated.

    With the configuration of the recorded run and its objective, the training is repeated bit for bit. With another objective the
    policy moves away from the one that wrote the completions: that is allowed, and how far it has gone is what `rollout/gap_exp` then
    measures (`data.gap_bounds` may have to be wider; `data.rollout_correction` can weigh for it). Completions are judged again,
    by the rewards that are configured now. A run that collected ahead (`data.asynchronous`) is replayed without that: which weights
    wrote what is in the recording. Files are read one at a time, on every rank: all of them must see the directory.

    Args:
        directory: where `ReplayLog` wrote, a local folder or an fsspec URL.

    Raises:
        FileNotFoundError: there is no such directory, or no recorded iteration in it.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory.rstrip("/")
        filesystem, path = fsspec.core.url_to_fs(self.directory)
        if not filesystem.isdir(path):
            raise FileNotFoundError(f"engine.directory={directory!r} is not a directory: give the one that ReplayLog wrote")
        self._files = sorted(filesystem.unstrip_protocol(name) for name in filesystem.glob(f"{path}/{ALL_FILES}"))
        if not self._files:
            raise FileNotFoundError(f"engine.directory={directory!r} has no {ALL_FILES}: nothing was recorded there")
        self._open_file = ""
        self._rows: dict[Key, dict[str, Any]] = {}

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Remember the version; the weights play no part. Completions keep the versions that they were recorded with."""
        self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        """Return the stored completions; see `RolloutEngine.generate`. `stop_token_ids` were obeyed when they were recorded.

        Raises:
            LookupError: a prompt was not recorded with this seed.
            ValueError: a completion was sampled in another way than `params` ask for, or for a prompt of other tokens; a file is
                damaged.
        """
        pairs = list(zip(prompts, seeds, strict=True))
        return [[self._completion(prompt, seed, params) for seed in row] for prompt, row in pairs]

    def _completion(self, prompt: Prompt, seed: int, params: SamplingParams) -> Completion:
        row = self._find(prompt.id, seed)
        completion = completion_of(row)
        if row["prompt_hash"] != hash_of_tokens(prompt.token_ids):
            raise ValueError(
                f"prompt {prompt.id!r} has other tokens than when {self._open_file} was recorded: data.format (tokenizer, chat "
                "template, system prompt) or the problem itself has changed"
            )
        if completion.semantics != params.semantics:
            raise ValueError(
                f"{self._open_file} was sampled with {completion.semantics}, but data.sampling asks for {params.semantics}: set "
                "data.sampling as it was"
            )
        if len(completion.token_ids) > params.max_tokens:
            raise ValueError(
                f"prompt {prompt.id!r} has a recorded completion of {len(completion.token_ids)} tokens in {self._open_file}, more than "
                f"data.sampling.max_tokens={params.max_tokens}: set data.sampling as it was"
            )
        return completion

    def _find(self, prompt_id: str, seed: int) -> dict[str, Any]:
        """Return the row, from the file that was read last, or else from the ones after it and then those before it."""
        key = (prompt_id, seed)
        if key in self._rows:
            return self._rows[key]
        start = self._files.index(self._open_file) + 1 if self._open_file else 0
        others: list[str] = []
        for name in self._files[start:] + self._files[:start]:
            self._rows, self._open_file = dict(keyed_rows(name)), name
            if key in self._rows:
                return self._rows[key]
            others += [name] if any(stored == prompt_id for stored, _ in self._rows) else []
        raise LookupError(self._missing(prompt_id, seed, sorted(others)))

    def _missing(self, prompt_id: str, seed: int, others: Sequence[str]) -> str:
        names = [name.rsplit("/", 1)[-1] for name in others]
        known = (
            f"with other seeds it is in {', '.join(names[:4])}{', ...' * (len(names) > 4)}"
            if names
            else "that prompt is in none"
        )
        return (
            f"no completion of prompt {prompt_id!r} with the sampling seed {seed} is stored in the {len(self._files)} iterations of "
            f"{self.directory}; {known}. {ADVICE}"
        )


def file_name(iteration: int) -> str:
    """Return the name of an iteration's file; names sort as iterations do."""
    return f"iteration_{iteration:06d}.jsonl.gz"


def row_of(prompt: Prompt, completion: Completion, iteration: int) -> dict[str, Any]:
    """Return what is stored of a completion, ready for JSON, which keeps every float exactly.

    Raises:
        ValueError: the completion does not know its seed.
    """
    if completion.seed < 0:
        raise ValueError(
            f"a completion of prompt {prompt.id!r} has no seed: it could not be found again (was it collected by Collector?)"
        )
    return {
        "iteration": iteration,
        "prompt_id": prompt.id,
        "prompt_hash": hash_of_tokens(prompt.token_ids),
        "seed": completion.seed,
        "finish_reason": completion.finish_reason,
        "weight_version": completion.weight_version,
        "token_versions": completion.token_versions,
        "semantics": asdict(completion.semantics),
        "token_ids": completion.token_ids,
        "logprobs": completion.logprobs,
    }


def completion_of(row: Mapping[str, Any]) -> Completion:
    """Return the completion of a stored row, without its text."""
    return Completion(
        token_ids=tuple(row["token_ids"]),
        logprobs=tuple(row["logprobs"]),
        finish_reason=row["finish_reason"],
        weight_version=row["weight_version"],
        semantics=LogprobSemantics(**row["semantics"]),
        token_versions=tuple(row["token_versions"]),
        seed=row["seed"],
    )


def hash_of_tokens(token_ids: Sequence[int]) -> str:
    """Return a digest that tells token sequences apart."""
    return hashlib.blake2b(" ".join(map(str, token_ids)).encode(), digest_size=16).hexdigest()


def keyed_rows(path: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield the rows of one recorded iteration with their keys.

    Raises:
        ValueError: the file is not whole, or not what `ReplayLog` writes.
    """
    number = 0
    try:
        with fsspec.open(path, "rb") as file, gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = json.loads(line)
                completion_of(row)
                yield (row["prompt_id"], row["seed"]), row
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged after line {number} ({error}): record it again, or copy it again whole") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}, line {number}: not a recorded completion ({type(error).__name__}: {error})") from error
