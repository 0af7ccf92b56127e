"""One rank of a layout: the gradient of every optimizer step of a fixed iteration, through the real Trainer.

    python layout_worker.py DATA OUT STRATEGY DTYPE LAYOUTS OBJECTIVES

Layouts are a number of micro-batches per rank and u (padded rows) or p (packed), like `3u,4p`; objectives are keys of OBJECTIVES.
Ranks are told apart by the environment variables of torchrun.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch.distributed.tensor import DTensor
from transformers import Qwen3Config

from lit_rlvr.data.iteration import Iteration
from lit_rlvr.data.loaders import LazyLoader
from lit_rlvr.modules import EntropyBonus, KLPenalty, LossTerm, PolicyConfig, PositiveNLL, RLModule
from lit_rlvr.objectives import (
    ASPO,
    CISPO,
    GPPO,
    GRPO,
    GSPO,
    REINFORCE,
    Archer,
    HighEntropyRange,
    NoImportanceSampling,
    PolicyObjective,
    PositiveMeanIS,
)
from lit_rlvr.ops import Reduction
from lit_rlvr.types import RolloutBatch

OBJECTIVES: dict[str, tuple[PolicyObjective, list[LossTerm]]] = {
    "grpo": (GRPO(dual_clip=3.0), []),
    "gppo": (GPPO(beta1=0.5, dual_clip=10.0), []),
    "cispo": (CISPO(), []),
    "aspo": (ASPO(), []),
    "aspo_code": (ASPO(high_entropy=HighEntropyRange(0.4, 0.4, 0.8)), []),
    "archer": (Archer(), [KLPenalty(0.1, high_entropy_coefficient=0.0)]),
    "gspo": (GSPO(clip_low=0.02, clip_high=0.03), []),
    "positive_mean_is": (PositiveMeanIS(), []),
    "positive_geometric_is": (PositiveMeanIS(mean="geometric", keep_clip_mask=False), []),
    "no_is": (NoImportanceSampling(), []),
    "reinforce": (REINFORCE(), []),
    "terms": (GRPO(), [KLPenalty(0.1), EntropyBonus(0.05), PositiveNLL(0.1)]),
}
REDUCTIONS: list[tuple[Reduction, float | None]] = [
    ("token-mean", None),
    ("seq-mean-token-mean", None),
    ("seq-mean-token-sum", None),
    ("constant", 40.0),
]


class FixedRollouts(LightningDataModule):
    """The optimizer steps of a stored iteration, once for every reduction."""

    def __init__(self, iteration: Iteration) -> None:
        super().__init__()
        self.iteration = iteration

    def connect(self, *_: Any) -> None:
        pass

    def train_dataloader(self) -> LazyLoader[RolloutBatch]:
        assert self.trainer is not None
        steps = len(REDUCTIONS) * len(self.iteration.steps)
        return LazyLoader(steps * self.trainer.accumulate_grad_batches, self._batches)

    def _batches(self) -> Iterator[RolloutBatch]:
        assert self.trainer is not None
        rank, world, per_rank = self.trainer.global_rank, self.trainer.world_size, self.trainer.accumulate_grad_batches
        for reduction, divisor in REDUCTIONS:
            for step in range(len(self.iteration.steps)):
                yield from self.iteration.micro_batches(step, rank, world, per_rank, reduction, divisor)


class Gradients(Callback):
    """Keeps the whole gradient of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        gradients = [p.grad for _, p in sorted(pl_module.policy.named_parameters())]
        whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients]
        self.steps.append(torch.cat([g.detach().flatten() for g in whole]).clone())


def write_model(folder: Path) -> None:
    """Write a model's configuration: two layers whose weights are drawn at random."""
    Qwen3Config(
        vocab_size=24,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.15,
        tie_word_embeddings=True,
        architectures=["Qwen3ForCausalLM"],
    ).save_pretrained(folder)


def policy_config(folder: Path, dtype: str, packed: bool = False) -> PolicyConfig:
    # Chunks of 5 tokens: ranks call the head different numbers of times.
    return PolicyConfig(str(folder), random_init=True, dtype=dtype, pack_sequences=packed, chunk_size=5)  # type: ignore[arg-type]


def strategy_named(name: str, world: int) -> Strategy | str:
    if name == "fsdp2":
        return ModelParallelStrategy(data_parallel_size=world, tensor_parallel_size=1)
    return "ddp" if world > 1 else "auto"


def gradients_of(
    iteration: Iteration, model: Path, objective: str, strategy: str, dtype: str, accumulate: int, packed: bool
) -> list[torch.Tensor]:
    """Train one iteration with a learning rate of 0 and return the gradient of each optimizer step."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    loss, terms = OBJECTIVES[objective]
    module = RLModule(
        policy_config(model, dtype, packed),
        loss,
        terms=terms,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
    seen = Gradients()
    Trainer(
        accelerator="cpu",
        devices=world,
        strategy=strategy_named(strategy, world),
        accumulate_grad_batches=accumulate,
        max_epochs=1,
        callbacks=[seen],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    ).fit(module, FixedRollouts(iteration))
    return seen.steps


def main(data: str, out: str, strategy: str, dtype: str, layouts: str, objectives: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    iteration = Iteration.from_state_dict(torch.load(data, weights_only=True)[dtype])
    model = Path(data).parent / "model"
    result = {}
    for objective in objectives.split(","):
        for layout in layouts.split(","):
            accumulate, packed = int(layout[:-1]), layout[-1] == "p"
            result[objective, layout] = gradients_of(iteration, model, objective, strategy, dtype, accumulate, packed)
    if os.environ.get("RANK", "0") == "0":
        torch.save(result, out)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
