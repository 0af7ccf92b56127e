"""Wall time of an RL iteration, rollouts and training one after the other against rollouts during training.

    python examples/benchmarks/async_rollouts.py --latency 1.0
    python examples/benchmarks/async_rollouts.py --engine server        # a vLLM server, launched on this machine
    python examples/benchmarks/async_rollouts.py --engine embedded

A round is two runs from the same weights on the same prompts with the same seeds: one synchronous (`max_staleness: 0`), one that
collects an iteration while the one before is trained on (`max_staleness: 1`), in an order that alternates. An iteration's wall time is
taken from the end of the second iteration to the end of the last: the first starts the engine, has nothing to overlap with, and is
slow in training. Ratios are of the two runs of a round; the figure is their median, with the extremes.

`simulated` (the default) is no engine: each call sleeps for `--latency` seconds, as if a server elsewhere took that time, and returns
random tokens. Nothing is learned; training takes the time that it takes. So the ratio shows what the schedule gains when generating
costs the trainer's machine nothing, not what an engine gains; at best it is (rollout + training) / max(rollout, training), the last
line. `server` generates in another process, with vLLM, on other cores if there are any. `embedded` generates with a copy of the model
in a thread of this process: on a CPU both threads spend their time in short operations and wait for Python's lock between them, so that
each slows the other down and little is gained.
"""

import argparse
import logging
import math
import os
import random
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.modules import RLModule
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.rewards import ExactAnswer
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout_gap import GapBounds
from lit_rlvr.tasks import AdditionPrompts, TinyModelConfig, make_model
from lit_rlvr.types import Completion, Prompt, RolloutPolicy

ENGINES = ("simulated", "embedded", "server")
WARM_UP = 2
"""Iterations at the start of a run that are not measured."""


class SimulatedServer(RolloutEngine):
    """Sleeps, and returns random tokens with the log-probs of a uniform distribution, each completion as long as it may be.

    Args:
        latency: seconds that a call takes.
    """

    can_overlap = True

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.vocab_size = 0

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Remember the version; there is nothing to hold weights for."""
        self.vocab_size = policy.model.config.vocab_size
        self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        """Sleep, and make something up."""
        time.sleep(self.latency)
        return [[self._completion(seed, params) for seed in row] for row in seeds]

    def _completion(self, seed: int, params: SamplingParams) -> Completion:
        tokens = tuple(random.Random(seed).choices(range(self.vocab_size), k=params.max_tokens))
        logprobs = (-math.log(self.vocab_size),) * params.max_tokens
        return Completion(tokens, logprobs, "length", self.weight_version, semantics=params.semantics)


@dataclass(frozen=True)
class Cost:
    """Mean seconds of an iteration of a run, without the first ones."""

    wall: float
    rollout: float
    """Until the first micro-batch: collecting, or what was left to wait for; sync and scoring."""
    collection: float
    """Generating and judging, whenever that was."""


class Clock(Callback):
    """Takes the times of a run's iterations."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.rollouts: list[float] = []
        self.collections: list[float] = []
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an iteration."""
        self._start = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """End its rollout with the first micro-batch."""
        if batch_idx == 0:
            self.rollouts.append(time.perf_counter() - self._start)
            self.collections.append(trainer.datamodule.collection_seconds)  # type: ignore[attr-defined]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End it."""
        self.ends.append(time.perf_counter())

    def cost(self) -> Cost:
        """Return the means."""
        count = len(self.ends) - WARM_UP
        wall = (self.ends[-1] - self.ends[WARM_UP - 1]) / count
        return Cost(wall, sum(self.rollouts[WARM_UP:]) / count, sum(self.collections[WARM_UP:]) / count)


def make_engine(args: argparse.Namespace) -> RolloutEngine:
    """Return a new engine of the kind that was asked for."""
    if args.engine == "server":
        from lit_rlvr.rollout.vllm import VLLMServerEngine

        return VLLMServerEngine(launch=True)
    return SimulatedServer(args.latency) if args.engine == "simulated" else EmbeddedEngine(device="cpu")


def run(model: str, max_staleness: int, args: argparse.Namespace) -> Cost:
    """Train, and return what an iteration cost."""
    torch.manual_seed(0)
    module = RLModule(PolicyConfig(model), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-5))
    data = RolloutDataModule(
        format=PromptFormat(model),
        train=AdditionPrompts("train", num=4096),
        rewards={"answer": ExactAnswer()},
        engine=make_engine(args),
        sampling=SamplingParams(max_tokens=args.max_tokens),
        iteration=IterationConfig(args.prompts, args.group_size, num_mini_batches=args.optimizer_steps),
        # Of random tokens there is nothing to check.
        gap_bounds=GapBounds(None, None) if args.engine == "simulated" else GapBounds(),
        asynchronous=AsyncConfig(max_staleness),
    )
    clock = Clock()
    trainer = Trainer(
        max_epochs=args.iterations + WARM_UP,
        accelerator="cpu",
        devices=1,
        callbacks=[clock],
        logger=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=data)
    return clock.cost()


def print_costs(costs: dict[int, list[Cost]], args: argparse.Namespace) -> None:
    """Print the medians of both ways, and the ratio within the rounds."""
    print(f"{'':14} {'s/iteration':>12} {'until the first micro-batch':>28} {'collecting':>11}")
    for max_staleness, name in ((0, "synchronous"), (1, "asynchronous")):
        wall, rollout, collection = (
            median(getattr(c, f) for c in costs[max_staleness]) for f in ("wall", "rollout", "collection")
        )
        print(f"{name:14} {wall:>12.3f} {rollout:>28.3f} {collection:>11.3f}")
    ratios = sorted(plain.wall / ahead.wall for plain, ahead in zip(costs[0], costs[1], strict=True))
    print(f"synchronous / asynchronous: {median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}, {args.rounds} rounds)")
    rollout, training = (
        median(values) for values in zip(*((c.collection, c.wall - c.collection) for c in costs[0]), strict=True)
    )
    print(f"at best, by the synchronous runs: {(rollout + training) / max(rollout, training):.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, default="simulated")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that a call of the simulated engine sleeps")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs")
    parser.add_argument("--iterations", type=int, default=6, help="measured iterations of a run, after two that warm up")
    parser.add_argument("--prompts", type=int, default=16, help="prompts of an iteration")
    parser.add_argument("--group-size", type=int, default=8, help="completions per prompt")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest completion")
    parser.add_argument("--optimizer-steps", type=int, default=4, help="optimizer steps of an iteration")
    parser.add_argument("--hidden-size", type=int, default=96, help="of the model, which has random weights")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    engine = (
        f"simulated, a latency of {args.latency:g} s per call and random tokens" if args.engine == "simulated" else args.engine
    )
    print(
        f"{args.prompts} prompts x {args.group_size}, at most {args.max_tokens} tokens, {args.optimizer_steps} optimizer steps; "
        f"engine: {engine}; {args.threads} threads, load of the machine {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    costs: dict[int, list[Cost]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        make_model(f"{folder}/model", TinyModelConfig(hidden_size=args.hidden_size))
        for number in range(args.rounds):
            for max_staleness in (0, 1) if number % 2 == 0 else (1, 0):
                costs[max_staleness].append(run(f"{folder}/model", max_staleness, args))
    print_costs(costs, args)


if __name__ == "__main__":
    main()
