"""A small RL run for the tests, also as a script: `python rl_run.py MODEL OUT RANKS ACCUMULATE EPOCHS STRATEGY`."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.modules import KLPenalty, PolicyConfig, PositiveNLL, RLModule
from lit_rlvr.objectives import GRPO, PolicyObjective
from lit_rlvr.rewards import RewardFunction
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.tasks import AdditionPrompts
from lit_rlvr.types import Completion, Prompt


class ShareOfDigits(RewardFunction):
    """A dense reward that an untrained model varies in: the share of digits among the tokens."""

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        return sum(c.isdigit() for c in completion.text) / max(len(completion.text), 1)


def make_module(model: Path, objective: PolicyObjective | None = None, **settings: Any) -> RLModule:
    return RLModule(
        PolicyConfig(str(model)),
        objective or GRPO(),
        terms=[KLPenalty(0.01), PositiveNLL(0.01)],
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
        **settings,
    )


def make_data(
    model: Path,
    num_prompts: int = 6,
    kind: type[RolloutDataModule] = RolloutDataModule,
    reward: RewardFunction | None = None,
    **settings: Any,
) -> Any:
    return kind(
        PromptFormat(str(model)),
        AdditionPrompts("train", num=20),
        {"digits": reward or ShareOfDigits()},
        val=AdditionPrompts("validation", num=5),
        sampling=SamplingParams(max_tokens=8),
        iteration=IterationConfig(num_prompts=num_prompts, group_size=4, num_mini_batches=2, ppo_epochs=2),
        **settings,
    )


def make_trainer(**settings: Any) -> Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "gradient_clip_val": 1.0,
    }
    return Trainer(**quiet | settings)


def flat_weights(module: RLModule) -> torch.Tensor:
    weights = [p.full_tensor() if isinstance(p, DTensor) else p for p in module.policy.parameters()]
    return torch.cat([p.detach().flatten() for p in weights])


if __name__ == "__main__":
    model, out, ranks, accumulate, epochs, strategy = sys.argv[1:]
    torch.set_num_threads(1)
    layout = {"devices": int(ranks), "accumulate_grad_batches": int(accumulate), "max_epochs": int(epochs)}
    fsdp2 = ModelParallelStrategy(data_parallel_size=int(ranks), tensor_parallel_size=1)
    trainer = make_trainer(strategy=fsdp2 if strategy == "fsdp2" else strategy, check_val_every_n_epoch=1, **layout)
    module = make_module(Path(model))
    trainer.fit(module, make_data(Path(model)))
    weights = flat_weights(module)
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save({"weights": weights, "metrics": metrics}, out)
    if dist.is_initialized():
        dist.destroy_process_group()
