"""The rubric: several reward functions, one reward per completion."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from numbers import Real

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.types import Completion, Prompt, Rollout, Verdict

MIN_ERRORS = 4
"""Fewer errors than this in one call never stop the run, whatever their share."""


class Rubric:
    """Judges completions: `reward` is the weighted sum of the functions' scores, in their order.

    A completion for which a function of non-zero weight could not judge has no reward (`None`) and is left out of the gradient.

    Args:
        rewards: the reward functions by name; the names appear in metrics and logs.
        weights: weight of each function by name; 1 for those not named. A weight of 0 logs the scores without paying them.
        accuracy: name of the function that decides `is_correct`; null takes the first.
        full_score: the score of the accuracy function from which a completion counts as correct.
        num_threads: completions judged at the same time; 1 judges one after the other.
        max_error_rate: share of errors in one call of `judge_all` above which the run stops (never for fewer than four).

    Raises:
        ValueError: no functions, a name in `weights` or `accuracy` that is not among them, a weight that is not finite, or a
            bound out of range.
    """

    def __init__(
        self,
        rewards: Mapping[str, RewardFunction],
        weights: Mapping[str, float] | None = None,
        accuracy: str | None = None,
        full_score: float = 1.0,
        num_threads: int = 8,
        max_error_rate: float = 0.1,
    ) -> None:
        if not rewards:
            raise ValueError("a rubric needs at least one reward function, got none")
        named = {*(weights or {}), *([] if accuracy is None else [accuracy])}
        if unknown := sorted(named - set(rewards)):
            raise ValueError(f"unknown reward functions {unknown}; the rubric has {list(rewards)}")
        if bad := {name: weight for name, weight in (weights or {}).items() if not math.isfinite(weight)}:
            raise ValueError(f"weights must be finite, got {bad}")
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        if not 0 <= max_error_rate <= 1:
            raise ValueError(f"max_error_rate must be between 0 and 1, got {max_error_rate}")
        self.rewards = dict(rewards)
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in rewards}
        self.accuracy = next(iter(rewards)) if accuracy is None else accuracy
        self.full_score = full_score
        self.num_threads = num_threads
        self.max_error_rate = max_error_rate

    def judge(self, prompt: Prompt, completion: Completion) -> Rollout:
        """Return the judged completion.

        Raises:
            ValueError: a function returned NaN, an infinity or something that is no number.
            Exception: whatever a function raised, with its name and the prompt's id in a note.
        """
        verdicts = {name: _verdict(name, function, prompt, completion) for name, function in self.rewards.items()}
        counted = [(self.weights[name], verdict.score) for name, verdict in verdicts.items() if self.weights[name] != 0]
        scores = [weight * score for weight, score in counted if score is not None]
        reward = sum(scores) if len(scores) == len(counted) else None
        accuracy = verdicts[self.accuracy].score
        is_correct = accuracy is not None and accuracy >= self.full_score
        return Rollout(prompt, completion, reward, is_correct, verdicts)

    def judge_all(self, pairs: Iterable[tuple[Prompt, Completion]]) -> list[Rollout]:
        """Return the judged completions in the order given; slow functions overlap in `num_threads` threads.

        Raises:
            RuntimeError: at least four completions, and more than `max_error_rate` of them, could not be judged.
            Exception: as `judge`.
        """
        with self.judging() as judging:
            return judging.results([judging.submit(prompt, completion) for prompt, completion in pairs])

    @contextmanager
    def judging(self) -> Iterator["Judging"]:
        """Return a place to hand in completions one by one, which are judged in `num_threads` threads meanwhile."""
        threads = ThreadPoolExecutor(self.num_threads, thread_name_prefix="rubric")
        try:
            yield Judging(self, threads)
        finally:
            # After an error nobody waits for what has not begun.
            threads.shutdown(cancel_futures=True)

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Let every reward function look at all prompts before the first completion is judged.

        Raises:
            ValueError: a function refuses them; its name is in a note.
        """
        for name, function in self.rewards.items():
            with _named(name):
                function.check(prompts)

    def close(self) -> None:
        """Close every reward function."""
        for function in self.rewards.values():
            function.close()

    def check_errors(self, rollouts: Sequence[Rollout]) -> None:
        """Stop when too many completions could not be judged.

        Raises:
            RuntimeError: at least four, and more than `max_error_rate` of them.
        """
        failed = [rollout for rollout in rollouts if rollout.reward is None]
        if len(failed) < MIN_ERRORS or len(failed) <= self.max_error_rate * len(rollouts):
            return
        details = [
            f"{name!r} on prompt {rollout.prompt.id!r}: {verdict.detail or 'no detail'}"
            for rollout in failed[:3]
            for name, verdict in rollout.verdicts.items()
            if verdict.is_error and self.weights[name] != 0
        ]
        raise RuntimeError(
            f"{len(failed)} of {len(rollouts)} completions could not be judged, more than "
            f"max_error_rate={self.max_error_rate:g} allows. The first errors:\n  " + "\n  ".join(details)
        )


class Judging:
    """Completions on their way through a rubric.

    Args:
        rubric: judges them.
        threads: where.
    """

    def __init__(self, rubric: Rubric, threads: ThreadPoolExecutor) -> None:
        self._rubric = rubric
        self._threads = threads

    def submit(self, prompt: Prompt, completion: Completion) -> "Future[Rollout]":
        """Begin to judge a completion."""
        return self._threads.submit(self._rubric.judge, prompt, completion)

    def results(self, handed_in: Sequence["Future[Rollout]"]) -> list[Rollout]:
        """Wait for the judged completions, and return them in the order given.

        Raises:
            RuntimeError: at least four completions, and more than `max_error_rate` of them, could not be judged.
            Exception: as `Rubric.judge`.
        """
        rollouts = [future.result() for future in handed_in]
        self._rubric.check_errors(rollouts)
        return rollouts


def _verdict(name: str, function: RewardFunction, prompt: Prompt, completion: Completion) -> Verdict:
    with _named(name, f" on prompt {prompt.id!r}"):
        outcome = function(prompt, completion)
    if isinstance(outcome, Verdict) and outcome.is_error:
        return outcome
    score, detail = (outcome.score, outcome.detail) if isinstance(outcome, Verdict) else (outcome, "")
    if not isinstance(score, Real) or not math.isfinite(score):
        raise ValueError(
            f"reward function {name!r} returned {score!r} on prompt {prompt.id!r}; "
            f"a score must be a finite number, and an error is Verdict(None, reason)"
        )
    return Verdict(float(score), detail)


@contextmanager
def _named(name: str, place: str = "") -> Iterator[None]:
    """Say in a note which function raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by the reward function {name!r}{place}")
        raise
