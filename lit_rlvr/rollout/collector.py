"""From prompts to scored groups: generate, decode, judge."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from lit_rlvr.rewards.rubric import Judging, Rubric
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.seeding import derive_seed
from lit_rlvr.types import Completion, Prompt, Rollout, RolloutGroup, RolloutPolicy


class CollectionInterruptedError(RuntimeError):
    """Nobody waits for these completions any more."""


class Collector:
    """Generates completions for prompts and judges them.

    Args:
        engine: samples completions.
        rubric: judges them.
        tokenizer: decodes them.
        stop_token_ids: tokens that end a completion.
        seed: all sampling seeds derive from it.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        rubric: Rubric,
        tokenizer: PreTrainedTokenizerBase,
        stop_token_ids: Sequence[int],
        seed: int,
    ) -> None:
        self.engine = engine
        self.rubric = rubric
        self.tokenizer = tokenizer
        self.stop_token_ids = tuple(stop_token_ids)
        self.seed = seed
        self._policy: RolloutPolicy | None = None
        self._current_version: Callable[[], int] = lambda: -1
        self._synced_version: int | None = None
        self._interrupted = threading.Event()

    @property
    def current_version(self) -> int:
        """Version of the policy's weights."""
        return self._current_version()

    def connect(self, policy: RolloutPolicy, current_version: Callable[[], int]) -> None:
        """Generate from this policy from now on.

        Args:
            policy: whose weights the engine shall hold.
            current_version: tells the version of the policy's weights, such as the number of optimizer steps taken. Whenever it
                has changed, the engine is updated before it generates.
        """
        self._policy, self._current_version, self._synced_version = policy, current_version, None
        self._interrupted.clear()

    def interrupt(self) -> None:
        """Let `sample`, which may run in another thread, raise `CollectionInterruptedError` from now on, until `connect`.

        A generation in progress ends with its next completion, if the engine tells of each, else when it is through.
        """
        self._interrupted.set()

    def sync(self) -> None:
        """Make sure that the engine holds the current weights: update it if they have changed, or if it has put them away.

        Raises:
            RuntimeError: no policy is connected, or the engine does not take over its weights.
        """
        if self._policy is None:
            raise RuntimeError("no policy is connected: rollouts would come from nowhere (is the WeightSync callback missing?)")
        version = self._current_version()
        if version != self._synced_version or self.engine.weight_version != version:
            self.engine.update_weights(self._policy, version)
            self._synced_version = version
        if self.engine.weight_version != version:
            raise RuntimeError(
                f"{type(self.engine).__name__} holds weights of version {self.engine.weight_version} but the policy is at {version}: "
                "rollouts would not come from the current policy"
            )

    def collect(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        params: SamplingParams,
        stream: str,
        iteration: int,
        draws: Sequence[int] = (),
    ) -> list[RolloutGroup]:
        """Return one group of `group_size` judged completions of the current policy per prompt; see `sample`.

        Raises:
            RuntimeError: no policy is connected, or the engine does not hold its current weights.
        """
        self.sync()
        return self.sample(prompts, group_size, params, stream, iteration, draws)

    def sample(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        params: SamplingParams,
        stream: str,
        iteration: int,
        draws: Sequence[int] = (),
    ) -> list[RolloutGroup]:
        """Return one group of `group_size` judged completions per prompt, in order, from the weights that the engine holds.

        The sampling seeds depend on `stream`, `iteration`, the prompt's id and the member only: the same call gives the same
        completions on any number of ranks. Where a prompt comes back within an iteration (a small data set, or many rounds of dynamic
        sampling), `draws` tells how often it was drawn before, and its members count on: it would get the same completions again.

        Raises:
            CollectionInterruptedError: see `interrupt`.
        """
        self._check_wanted()
        seeds = [
            [derive_seed(self.seed, stream, iteration, prompt.id, draw * group_size + member) for member in range(group_size)]
            for prompt, draw in zip(prompts, draws or [0] * len(prompts), strict=True)
        ]
        with self.rubric.judging() as judging:
            rollouts = judging.results(self._generate(prompts, params, seeds, judging))
        return [
            RolloutGroup(prompt, tuple(rollouts[start : start + group_size]))
            for prompt, start in zip(prompts, range(0, len(rollouts), group_size), strict=True)
        ]

    def _generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], judging: Judging
    ) -> list[Future[Rollout]]:
        """Generate, and hand in each completion as soon as the engine tells that it is finished, the others at the end.

        What the engine returns is what counts: a completion that is not the one it told of is judged again.
        """
        told: dict[tuple[int, int], tuple[Completion, Future[Rollout]]] = {}

        def hand_in(prompt: int, member: int, completion: Completion) -> None:
            self._check_wanted()
            decoded = replace(completion, text=self._decode(completion), seed=seeds[prompt][member])
            told[prompt, member] = completion, judging.submit(prompts[prompt], decoded)

        self.engine.on_completion = hand_in
        try:
            generated = self.engine.generate(prompts, params, seeds, self.stop_token_ids)
        finally:
            self.engine.on_completion = None
        places = [(p, g, completion) for p, row in enumerate(generated) for g, completion in enumerate(row)]
        for p, g, completion in places:
            if (p, g) not in told or told[p, g][0] != completion:
                hand_in(p, g, completion)
        return [told[p, g][1] for p, g, _ in places]

    def _check_wanted(self) -> None:
        if self._interrupted.is_set():
            raise CollectionInterruptedError("the collection was interrupted: the run ends, or has failed elsewhere")

    def _decode(self, completion: Completion) -> str:
        return str(self.tokenizer.decode(list(completion.token_ids), skip_special_tokens=True))


def survivors(group: RolloutGroup, drop_truncated: bool) -> RolloutGroup:
    """Return the group without completions that could not be judged and, when asked, without truncated ones.

    The second is the overlong filter: a cut completion is neither right nor wrong.
    """

    def stays(rollout: Rollout) -> bool:
        return rollout.reward is not None and not (drop_truncated and rollout.completion.is_truncated)

    return replace(group, rollouts=tuple(filter(stays, group.rollouts)))
