"""Token logs read back: one record per completion of an optimizer step."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import torch
from jaxtyping import Float
from torch import Tensor

FACTS: Mapping[str, tuple[type, ...]] = {
    "iteration": (int,),
    "optimizer_step": (int,),
    "objective": (dict,),
    "temperature": (int, float),
    "reward": (int, float, type(None)),
    "is_correct": (bool,),
    "prompt": (str,),
}
"""What a row says about its completion."""
NUMBERS = ("logprob", "old_logprob", "rollout_logprob", "entropy", "advantage", "loss_weight")
"""What a row says about each token, as numbers or null."""


@dataclass(frozen=True)
class TokenRecord:
    """One completion of an optimizer step, token by token: `N` tokens that took part in the loss."""

    iteration: int
    """RL iteration, counted from 0."""
    optimizer_step: int
    """Optimizer steps that were taken before this one."""
    objective: Mapping[str, Any]
    """`class_path` and `init_args` of the objective that was trained with."""
    temperature: float
    """Sampling temperature, which all log-probs are at."""
    reward: float | None
    is_correct: bool
    prompt: str
    """The prompt as the policy saw it, chat template included."""
    token_id: tuple[int, ...]
    token: tuple[str, ...]
    """The text of each token; empty for a token that only begins a character."""
    logprob: Float[Tensor, " N"]
    """Under the policy that the step began with. As in every column, a number that was not finite is NaN."""
    old_logprob: Float[Tensor, " N"]
    """Under the policy before the iteration's first update."""
    rollout_logprob: Float[Tensor, " N"]
    """Under the engine that sampled the token."""
    entropy: Float[Tensor, " N"]
    """Of the policy's distribution, in nats."""
    advantage: Float[Tensor, " N"]
    loss_weight: Float[Tensor, " N"]
    """What the token's loss was multiplied by: the reduction, times the correction for the engine where there was one."""


def read_tokens(path: str | os.PathLike[str]) -> list[TokenRecord]:
    """Read a file that the callback `TokenLog` wrote.

    Args:
        path: a local file or an fsspec URL.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no completions, a line is cut off or no JSON, or a column is missing or of the wrong kind.
    """
    path = os.fspath(path)
    filesystem, location = fsspec.core.url_to_fs(path)
    if filesystem.isdir(location):
        names = sorted(name.rsplit("/", 1)[-1] for name in filesystem.glob(f"{location.rstrip('/')}/iteration_*.jsonl"))
        raise ValueError(f"{path} is a folder: name one of its files ({', '.join(names) or 'it holds no iteration_*.jsonl'})")
    if not filesystem.exists(location):
        raise FileNotFoundError(
            f"no token log at {path}: the callback TokenLog writes tokens/iteration_*.jsonl into a run's folder"
        )
    # Not splitlines(): U+2028 and its like end no line of JSON.
    lines = filesystem.cat_file(location).decode("utf-8", errors="replace").split("\n")
    is_cut = lines[-1] != ""
    records = [
        _record(line, f"{path}, line {i}", is_cut and i == len(lines)) for i, line in enumerate(lines, 1) if line.strip()
    ]
    if not records:
        raise ValueError(f"{path} holds no completions")
    return records


def _record(line: str, place: str, may_be_cut: bool) -> TokenRecord:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        if may_be_cut:
            raise ValueError(f"{place}: the last line is cut off: the file is incomplete, copy it again") from error
        raise ValueError(f"{place}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: expected an object, got {type(row).__name__}")
    facts = {name: _checked(row, name, kinds, place) for name, kinds in FACTS.items()}
    columns = _checked(row, "tokens", (dict,), place)
    token_id = _column(columns, "token_id", (int,), place)
    numbers = {name: _column(columns, name, (int, float, type(None)), place) for name in NUMBERS}
    token = _column(columns, "token", (str,), place)
    for name, values in {"token": token, **numbers}.items():
        if len(values) != len(token_id):
            raise ValueError(f"{place}: column tokens.{name} has {len(values)} entries, tokens.token_id has {len(token_id)}")
    tensors: dict[str, Any] = {name: _tensor(values) for name, values in numbers.items()}
    return TokenRecord(**facts, token_id=tuple(token_id), token=tuple(token), **tensors)


def _checked(row: Mapping[str, Any], name: str, kinds: tuple[type, ...], place: str) -> Any:
    if name not in row:
        raise ValueError(f"{place}: no column '{name}'; is this a file of the callback TokenLog (tokens/iteration_*.jsonl)?")
    if not isinstance(row[name], kinds):
        raise ValueError(f"{place}: column '{name}' must be {_words(kinds)}, got {row[name]!r}")
    return row[name]


def _column(columns: Mapping[str, Any], name: str, kinds: tuple[type, ...], place: str) -> list[Any]:
    if name not in columns:
        raise ValueError(f"{place}: no column 'tokens.{name}'")
    values = columns[name]
    if not isinstance(values, list):
        raise ValueError(f"{place}: column 'tokens.{name}' must be a list, got {values!r}")
    wrong = next((value for value in values if not isinstance(value, kinds) or isinstance(value, bool)), ...)
    if wrong is not ...:
        raise ValueError(f"{place}: column 'tokens.{name}' must hold {_words(kinds)}, got {wrong!r}")
    return values


def _words(kinds: tuple[type, ...]) -> str:
    return " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)


def _tensor(values: list[float | None]) -> Tensor:
    return torch.tensor([torch.nan if value is None else value for value in values], dtype=torch.float64)
