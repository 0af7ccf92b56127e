"""The replay engine: what was stored comes back exactly, and whatever does not fit is refused in words."""

import gzip
import math
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_policies import TinyPolicy

from lit_rlvr.callbacks.replay_log import ReplayLog
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.replay import ReplayEngine, keyed_rows
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout, RolloutGroup

SEMANTICS = LogprobSemantics(0.7, top_p=0.9, top_k=20)
PARAMS = SamplingParams(8, 0.7, 0.9, 20)


def prompt(name: str) -> Prompt:
    return Prompt(name, ({"role": "user", "content": "?"},), token_ids=(5, 6, len(name)))


def completion(seed: int, version: int = 3, **changes: object) -> Completion:
    """A completion with log-probs that a decimal of fewer than 17 digits would change."""
    settings = {
        "token_ids": (seed % 7, 1, 2),
        "logprobs": (-1 / 3, -math.pi, -(2.0**-40)),
        "finish_reason": "stop",
        "weight_version": version,
        "semantics": SEMANTICS,
        "token_versions": (version, version, version + 1),
        "seed": seed,
    }
    return Completion(**settings | changes)  # type: ignore[arg-type]


def group(name: str, *completions: Completion) -> RolloutGroup:
    one = prompt(name)
    return RolloutGroup(one, tuple(Rollout(one, c, 1.0, is_correct=True) for c in completions))


def record(directory: str, *iterations: Sequence[RolloutGroup]) -> str:
    log = ReplayLog(directory)
    for index, groups in enumerate(iterations):
        log.log_groups(groups, index, "train")
    return directory


@pytest.fixture(params=["local", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "replay") if request.param == "local" else f"memory://{uuid.uuid4().hex}/replay"


def asked(engine: ReplayEngine, *wanted: tuple[str, Sequence[int]], params: SamplingParams = PARAMS) -> list[list[Completion]]:
    return engine.generate([prompt(name) for name, _ in wanted], params, [seeds for _, seeds in wanted], [])


def test_completions_come_back_exactly_and_in_the_order_asked_for(directory: str) -> None:
    big = 2**63 - 1
    stored = {seed: completion(seed) for seed in (0, 1, big)}
    record(directory, [group("a", stored[0], stored[big]), group("b", stored[1])])
    found = asked(ReplayEngine(directory), ("b", [1]), ("a", [big, 0]))
    assert found == [[stored[1]], [stored[big], stored[0]]]


def test_numbers_that_are_not_finite_come_back_too(tmp_path: Path) -> None:
    record(str(tmp_path), [group("a", completion(1, logprobs=(-math.inf, math.nan, -0.0), token_versions=()))])
    ((found,),) = asked(ReplayEngine(str(tmp_path)), ("a", [1]))
    assert found.logprobs[0] == -math.inf
    assert math.isnan(found.logprobs[1])
    assert math.copysign(1, found.logprobs[2]) == -1
    assert found.token_versions == ()


def test_iterations_are_found_in_any_order(directory: str) -> None:
    iterations = [[group("a", completion(seed, version=seed))] for seed in range(12)]
    engine = ReplayEngine(record(directory, *iterations))
    for seed in (0, 1, 11, 4, 0):
        assert asked(engine, ("a", [seed])) == [[completion(seed, version=seed)]]


def test_it_takes_any_weights_and_remembers_their_version(tmp_path: Path) -> None:
    engine = ReplayEngine(record(str(tmp_path), [group("a", completion(1, version=3))]))
    engine.update_weights(TinyPolicy(torch.nn.Linear(1, 1)), 77)
    ((found,),) = asked(engine, ("a", [1]))
    assert (engine.weight_version, found.weight_version) == (77, 3)


def test_a_missing_completion_is_named_with_what_may_differ(directory: str) -> None:
    engine = ReplayEngine(
        record(directory, [group("a", completion(1))], [group("a", completion(2)), group("b", completion(3))])
    )
    with pytest.raises(
        LookupError, match=r"prompt 'a' with the sampling seed 9 .*other seeds it is in iteration_000000\S*, iteration_000001"
    ):
        asked(engine, ("a", [9]))
    with pytest.raises(
        LookupError, match=r"prompt 'c' with the sampling seed 1 .*2 iterations.*that prompt is in none"
    ) as error:
        asked(engine, ("c", [1]))
    for word in ("data.seed", "num_prompts", "group_size", "filters", "data.val must be null"):
        assert word in str(error.value)
    assert asked(engine, ("a", [1])) == [[completion(1)]]


@pytest.mark.parametrize(
    "params", [SamplingParams(8, 1.0, 0.9, 20), SamplingParams(8, 0.7, 1.0, 20), SamplingParams(8, 0.7, 0.9, 0)]
)
def test_another_way_of_sampling_is_refused(tmp_path: Path, params: SamplingParams) -> None:
    engine = ReplayEngine(record(str(tmp_path), [group("a", completion(1))]))
    with pytest.raises(
        ValueError, match=r"iteration_000000\.jsonl\.gz was sampled with .*temperature=0\.7.*set data\.sampling"
    ):
        asked(engine, ("a", [1]), params=params)


def test_completions_longer_than_asked_for_are_refused(tmp_path: Path) -> None:
    engine = ReplayEngine(record(str(tmp_path), [group("a", completion(1))]))
    assert asked(engine, ("a", [1]), params=SamplingParams(3, 0.7, 0.9, 20))
    with pytest.raises(ValueError, match=r"3 tokens .*data\.sampling\.max_tokens=2"):
        asked(engine, ("a", [1]), params=SamplingParams(2, 0.7, 0.9, 20))


def test_a_prompt_of_other_tokens_is_refused(tmp_path: Path) -> None:
    engine = ReplayEngine(record(str(tmp_path), [group("a", completion(1))]))
    other = Prompt("a", (), token_ids=(5, 61))
    with pytest.raises(ValueError, match=r"prompt 'a' has other tokens.*data\.format"):
        engine.generate([other], PARAMS, [[1]], [])


def test_nothing_recorded_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"engine\.directory='.*nowhere' is not a directory"):
        ReplayEngine(str(tmp_path / "nowhere"))
    (tmp_path / "iteration_000000.jsonl").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has no iteration_"):
        ReplayEngine(str(tmp_path))


def damaged(tmp_path: Path, kind: str) -> Path:
    """A recording of many rows whose only file was cut, overwritten, or is no recording."""
    record(str(tmp_path), [group("a", *[completion(seed, token_ids=(seed * 37 % 101, seed, 2)) for seed in range(2000)])])
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flipped": content[:-8] + bytes(8),
            "plain": b'{"iteration": 0}\n',
            "no rows": gzip.compress(b'{"iteration": 0}\n'),
            "no json": gzip.compress(gzip.decompress(content)[:-9]),
        }[kind]
    )
    return file


@pytest.mark.parametrize("kind", ["cut", "flipped", "plain"])
def test_a_damaged_file_is_told_from_a_missing_row(tmp_path: Path, kind: str) -> None:
    file = damaged(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"{file.name} is damaged after line \d+"):
        asked(ReplayEngine(str(tmp_path)), ("a", [0]))


@pytest.mark.parametrize(("kind", "line"), [("no rows", 1), ("no json", 2000)])
def test_a_file_of_something_else_is_told(tmp_path: Path, kind: str, line: int) -> None:
    damaged(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"iteration_000000\.jsonl\.gz, line {line}: not a recorded completion"):
        asked(ReplayEngine(str(tmp_path)), ("a", [0]))


def test_after_a_damaged_file_nothing_of_it_is_used(tmp_path: Path) -> None:
    damaged(tmp_path, "cut")
    engine = ReplayEngine(str(tmp_path))
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            asked(engine, ("a", [0]))


def test_rows_are_keyed_by_prompt_and_seed(tmp_path: Path) -> None:
    record(str(tmp_path), [group("a", completion(1)), group("b", completion(1))])
    assert [key for key, _ in keyed_rows(str(tmp_path / "iteration_000000.jsonl.gz"))] == [("a", 1), ("b", 1)]
