"""The rollout DataModule: one epoch of its train loader is one RL iteration."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch import LightningDataModule

from lit_rlvr.advantages import AdvantageEstimator, GroupRelative
from lit_rlvr.data.ahead import AheadCollector
from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.data.chat import load_tokenizer, stop_token_ids, tokenize_prompts
from lit_rlvr.data.evaluation import Evaluator, collate_evaluation
from lit_rlvr.data.iteration import Iteration, build_iteration
from lit_rlvr.data.iteration_collector import IterationCollector, IterationRecipe, OnDemandCollector, iterations_left
from lit_rlvr.data.loaders import LazyLoader
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.settings import EvaluationConfig, IterationConfig, PromptFormat, check_training_rollouts
from lit_rlvr.data.sources import PromptSource
from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.rubric import Rubric
from lit_rlvr.rollout.collector import Collector
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.filters import GroupFilter
from lit_rlvr.rollout_correction import TruncatedImportanceSampling
from lit_rlvr.rollout_gap import GapBounds
from lit_rlvr.types import EvalBatch, Prompt, RolloutBatch, RolloutGroup, RolloutPolicy

RolloutObserver = Callable[[Sequence[RolloutGroup], int, str], None]
"""Called with all groups, the iteration and the stage (`train`, `validation`, `test`) once they are judged."""


class RolloutDataModule(LightningDataModule):
    """Collects rollouts from the current policy and hands them out in micro-batches.

    An iteration: draw prompts, generate a group of completions for each, judge them, filter, compute advantages, score them
    with the policy, and deal them to `ppo_epochs * num_mini_batches` optimizer steps. Each optimizer step has
    `trainer.accumulate_grad_batches` micro-batches per rank, balanced by tokens.

    Args:
        format: tokenizer and chat template.
        train: problems to train on.
        rewards: reward functions by name.
        val: held-out problems for `validate` and for validation during `fit`.
        test: held-out problems for `test`.
        reward_weights: weight of each reward function in the sum; 1 where not given.
        accuracy: the reward function whose full score means "correct"; the first one by default.
        max_error_rate: share of completions that may go unjudged before the run stops.
        advantages: turns the rewards of a group into advantages; group-relative (GRPO) by default.
        filters: a group that any of them rejects is not trained on.
        engine: generates completions; the embedded engine by default.
        sampling: how training completions are sampled.
        iteration: sizes of an iteration, and the reduction of its loss.
        evaluation: how held-out problems are evaluated.
        seed: decides prompt order, sampling and the dealing of mini-batches.
        rollout_correction: weighs tokens for the gap between the engine's log-probs and the policy's; none by default.
        gap_bounds: how large that gap may be before the run warns or stops.
        asynchronous: whether rollouts are collected while the policy is trained; by default they are not.

    Raises:
        ValueError: settings that contradict each other; see `check_training_rollouts`, `AsyncConfig` and `Rubric`.
    """

    def __init__(
        self,
        format: PromptFormat,
        train: PromptSource,
        rewards: dict[str, RewardFunction],
        val: PromptSource | None = None,
        test: PromptSource | None = None,
        reward_weights: dict[str, float] | None = None,
        accuracy: str | None = None,
        max_error_rate: float = 0.1,
        advantages: AdvantageEstimator | None = None,
        filters: list[GroupFilter] | None = None,
        engine: RolloutEngine | None = None,
        sampling: SamplingParams = SamplingParams(),  # noqa: B008 - frozen
        iteration: IterationConfig = IterationConfig(),  # noqa: B008 - frozen
        evaluation: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
        seed: int = 0,
        rollout_correction: TruncatedImportanceSampling | None = None,
        gap_bounds: GapBounds = GapBounds(),  # noqa: B008 - frozen
        asynchronous: AsyncConfig = AsyncConfig(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        check_training_rollouts(sampling, iteration, rollout_correction)
        self.engine = engine or EmbeddedEngine()
        asynchronous.check_engine(self.engine)
        self.format = format
        self.sources = {"train": train, "validation": val, "test": test}
        self.rubric = Rubric(rewards, reward_weights, accuracy, max_error_rate=max_error_rate)
        self.advantages = advantages or GroupRelative()
        self.filters = filters or []
        self.sampling = sampling
        self.iteration = iteration
        self.evaluation = evaluation
        self.seed = seed
        self.rollout_correction = rollout_correction
        self.gap_bounds = gap_bounds
        self.asynchronous = asynchronous
        self.rollout_observers: list[RolloutObserver] = []
        self.prompts: dict[str, list[Prompt]] = {}
        self.ranks = Ranks()
        self._policy: RolloutPolicy | None = None
        self._next_iteration = 0
        self._current: Iteration | None = None
        self._cursor = 0
        self._source: IterationCollector | None = None
        self._restored: tuple[dict[str, Any] | None, int] = (None, 0)
        self.collection_seconds = 0.0
        """How long it took to generate and judge the iteration that is trained on, beside other things or not."""

    def setup(self, stage: str) -> None:
        """Load the tokenizer and the problems of the stage."""
        if self.trainer is not None:
            self.ranks = Ranks(self.trainer.global_rank, self.trainer.world_size)
            self.ranks.check_process_group()
        if not hasattr(self, "tokenizer"):
            self.tokenizer = load_tokenizer(self.format.tokenizer)
            stops = stop_token_ids(self.tokenizer, self.format.tokenizer)
            self.collector = Collector(self.engine, self.rubric, self.tokenizer, stops, self.seed)
        for name in {"fit": ("train", "validation"), "validate": ("validation",), "test": ("test",)}.get(stage, ()):
            source = self.sources[name]
            if source is not None and name not in self.prompts:
                self.prompts[name] = tokenize_prompts(self.tokenizer, source.load(), self.format)
                self.rubric.check(self.ranks.share(self.prompts[name]))
        if "train" in self.prompts and self._source is None:
            stream = ShuffledStream(self.prompts["train"], self.seed)
            recipe = IterationRecipe(self.collector, stream, self.iteration, self.sampling, self.filters, self.advantages)
            is_ahead = self.asynchronous.max_staleness > 0
            self._source = AheadCollector(recipe, self.asynchronous) if is_ahead else OnDemandCollector(recipe)
            self._source.load_state_dict(*self._restored)

    def on_exception(self, exception: BaseException) -> None:
        """Collect no further."""
        if self._source:
            self._source.stop()

    def teardown(self, stage: str) -> None:
        """Collect no further, and release the engine and the reward functions."""
        if self._source:
            self._source.stop()
        self.engine.close()
        self.rubric.close()

    def connect(self, policy: RolloutPolicy, current_version: Callable[[], int]) -> None:
        """Generate from this policy; `current_version` counts the optimizer steps it has taken.

        Raises:
            RuntimeError: torch's process group is not that of the Trainer.
        """
        self.ranks.check_process_group()
        self._policy = policy
        self.collector.connect(policy, current_version)

    def train_dataloader(self) -> LazyLoader[RolloutBatch]:
        """Return a loader whose epochs are RL iterations."""
        return LazyLoader(self._micro_batches_per_step * self._steps_per_iteration, self._train_batches)

    def val_dataloader(self) -> LazyLoader[EvalBatch] | list[Any]:
        """Return a loader of judged completions of the validation problems; `fit` can do without them."""
        if "validation" not in self.prompts and self.trainer is not None and self.trainer.state.fn == "validate":
            raise ValueError("data.val is not set: there are no problems to validate on")
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> LazyLoader[EvalBatch] | list[Any]:
        """Return a loader of judged completions of the test problems."""
        if "test" not in self.prompts:
            raise ValueError("data.test is not set: there are no problems to test on")
        return self._evaluation_loader("test")

    @property
    def _micro_batches_per_step(self) -> int:
        return self.trainer.accumulate_grad_batches if self.trainer is not None else 1

    @property
    def _steps_per_iteration(self) -> int:
        return self.iteration.ppo_epochs * self.iteration.num_mini_batches

    def _train_batches(self) -> Iterator[RolloutBatch]:
        per_step = self._micro_batches_per_step
        if self._current is None or self._cursor >= per_step * self._steps_per_iteration:
            self._current, self._cursor = self._collect(), 0
        for step in range(self._cursor // per_step, self._steps_per_iteration):
            micro_batches = self._current.micro_batches(
                step, self.ranks.rank, self.ranks.world_size, per_step, self.iteration.reduction, self.iteration.divisor
            )
            for micro_batch in micro_batches[self._cursor % per_step :]:
                self._cursor += 1
                yield micro_batch

    def _collect(self) -> Iteration:
        """Have an iteration collected, score it with the policy, and weigh its tokens for the gap between the two."""
        assert self._policy is not None
        assert self._source is not None
        index = self._next_iteration
        collection = self._source.take(index, iterations_left(self.trainer, self._steps_per_iteration), self.ranks)
        self.collection_seconds = collection.seconds
        self._notify(collection.groups.with_advantages(), index, "train")
        iteration = build_iteration(collection.groups, index, self.iteration, self.sampling.temperature, self.seed)
        self._next_iteration += 1
        before = self._current.batch.stats if self._current else {}
        batch = self.gap_bounds.check(self._policy.score(iteration.batch), before)
        batch = self.rollout_correction.correct(batch) if self.rollout_correction else batch
        return replace(iteration, batch=replace(batch, stats={**batch.stats, **collection.statistics}))

    def _notify(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        for observer in self.rollout_observers:
            observer(groups, iteration, stage)

    def _evaluation_loader(self, stage: str) -> LazyLoader[EvalBatch] | list[Any]:
        if not self.prompts.get(stage):
            return []
        evaluator = Evaluator(self.evaluation, self.sampling, self.collector, self.ranks)
        chunks = evaluator.chunks(self.prompts[stage])
        return LazyLoader(len(chunks), lambda: self._evaluations(evaluator, chunks, stage))

    def _evaluations(self, evaluator: Evaluator, chunks: list[list[Prompt]], stage: str) -> Iterator[EvalBatch]:
        """Evaluate chunk by chunk, with the engine to ourselves."""
        if self._source:
            self._source.wait()
        for chunk in chunks:
            sampled, greedy = evaluator.judge(chunk, stage)
            self._notify(sampled, self._next_iteration, stage)
            # Before the last yield: a loader of known length is not asked for more. What is collected ahead needs the weights.
            if chunk is chunks[-1] and not self.asynchronous.max_staleness:
                self.engine.release_memory()
            yield collate_evaluation(sampled, greedy, self.ranks)

    def state_dict(self) -> dict[str, Any]:
        """Return where the run stands: prompts drawn, iterations collected, and the unfinished iteration with its rollouts."""
        unfinished = self._current is not None and self._cursor < self._micro_batches_per_step * self._steps_per_iteration
        return {
            "prompts_drawn": self._source.prompts_taken if self._source else 0,
            "next_iteration": self._next_iteration,
            "cursor": self._cursor if unfinished else 0,
            "current": self._current.state_dict() if self._current is not None and unfinished else None,
            "ahead": self._source.state_dict() if self._source else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._restored = state_dict.get("ahead"), state_dict["prompts_drawn"]
        if self._source:
            self._source.load_state_dict(*self._restored)
        self._next_iteration = state_dict["next_iteration"]
        self._cursor = state_dict["cursor"]
        self._current = Iteration.from_state_dict(state_dict["current"]) if state_dict["current"] else None
