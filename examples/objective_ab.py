"""Four objectives on the very same rollouts: record one run, replay it into each of them, and see what their gradients do.

    python examples/objective_ab.py --seed 0

A tiny untrained model is paid for the digits that it writes. GRPO trains it, and `ReplayLog` keeps every completion. Then GRPO,
GPPO, CISPO and ASPO start from the same weights and train on those completions through `ReplayEngine`: nothing is generated again, so
that all they differ in is the objective. In YAML that is `lit_rlvr.callbacks.ReplayLog` among `trainer.callbacks`, and then
`engine: {class_path: lit_rlvr.rollout.ReplayEngine, init_args: {directory: ...}}`.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from lit_rlvr import objectives
from lit_rlvr.callbacks import ReplayLog
from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.modules import PolicyConfig, RLModule
from lit_rlvr.report import Curves, read_run
from lit_rlvr.report.panels import draw_panels
from lit_rlvr.rewards import RewardFunction
from lit_rlvr.rollout import ReplayEngine, SamplingParams
from lit_rlvr.rollout_gap import GapBounds
from lit_rlvr.tasks import AdditionPrompts, TinyModelConfig, make_model
from lit_rlvr.types import Completion, Prompt

OBJECTIVES = ("GRPO", "GPPO", "CISPO", "ASPO")
RECORDER = "GRPO"
SIZE = TinyModelConfig(hidden_size=48, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=24, mlp_size=96, init_std=0.2)
MEANS = {
    "gradient norm": "train/grad_norm",
    "clipped low %": "train/clip_fraction_low",
    "clipped high %": "train/clip_fraction_high",
    "no gradient %": "train/zero_gradient_share",
}
"""Averaged over all iterations; shares are of the loss tokens."""
PANELS = {
    "mean of e^|log pi - log pi_recorder| as an iteration begins (1: on-policy)": "rollout/gap_exp",
    "norm of the gradient before clipping": "train/grad_norm",
    "share of tokens above the clip range": "train/clip_fraction_high",
    "share of tokens without gradient": "train/zero_gradient_share",
    "entropy (nats)": "train/entropy",
}


class Digits(RewardFunction):
    """A dense reward that an untrained model varies in: the share of digits in the text."""

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        """Return the share."""
        return sum(c.isdigit() for c in completion.text) / max(len(completion.text), 1)


@dataclass(frozen=True)
class Run:
    """A finished training."""

    model: PreTrainedModel
    curves: Curves
    data: RolloutDataModule


def main() -> None:
    """Read the arguments and run the comparison."""
    parser = argparse.ArgumentParser(description="GRPO, GPPO, CISPO and ASPO on the same recorded rollouts, on the CPU.")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data and sampling")
    parser.add_argument("--iterations", type=int, default=10, help="RL iterations")
    parser.add_argument("--out", type=Path, default=None, help="folder for everything (default: runs/objective_ab/seed<SEED>)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compare(args.out or Path(f"runs/objective_ab/seed{args.seed}"), args.seed, args.iterations)


def compare(out: Path, seed: int, iterations: int) -> dict[str, dict[str, float]]:
    """Record, replay, print the table, write `result.json` and a figure into `out`, and return the numbers of each objective."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    disable_progress_bar()
    make_model(str(out / "start"), SIZE, seed=seed, overwrite=True)
    print(f"Recording {iterations} iterations of {RECORDER} ...", flush=True)
    recorded = train(out, "recording", RECORDER, seed, iterations)
    runs = {}
    for name in OBJECTIVES:
        print(f"Replaying them into {name} ...", flush=True)
        runs[name] = train(out, name, name, seed, iterations, ReplayEngine(str(out / "recording/replay")))
    start = AutoModelForCausalLM.from_pretrained(out / "start")
    numbers = {name: measure(run, recorded, start) for name, run in runs.items()}
    curves = {name: run.curves for name, run in runs.items()}
    title = f"Four objectives on the completions of one run ({RECORDER}'s)"
    figure = draw_panels(curves, out / "objective_ab.png", title, "", {title: {name: ""} for title, name in PANELS.items()})
    result = out / "result.json"
    result.write_text(json.dumps(numbers, indent=2))
    print_table(numbers)
    print_caveat(curves, numbers)
    print(f"\nFigure:\n  {figure}\nNumbers:\n  {result}")
    return numbers


def train(out: Path, name: str, objective: str, seed: int, iterations: int, engine: ReplayEngine | None = None) -> Run:
    """Train from the start. Without an engine the model itself generates, and its completions are recorded."""
    module = RLModule(
        PolicyConfig(str(out / "start")),
        getattr(objectives, objective)(),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.0),
    )
    data = RolloutDataModule(
        PromptFormat(str(out / "start")),
        AdditionPrompts("train", num=256, seed=seed),
        {"digits": Digits()},
        engine=engine,
        sampling=SamplingParams(max_tokens=24),
        iteration=IterationConfig(num_prompts=16, group_size=8, num_mini_batches=4, ppo_epochs=2),
        seed=seed,
        # The objectives part from the policy that wrote the completions: here that is measured, not forbidden.
        gap_bounds=GapBounds(warn=None, stop=None),
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=iterations,
        gradient_clip_val=1.0,
        logger=CSVLogger(out / name, name="logs", version=0),
        callbacks=[] if engine else [ReplayLog(str(out / name / "replay"))],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return Run(module.policy.causal_lm, read_run(out / name / "logs"), data)


def measure(run: Run, recorded: Run, start: PreTrainedModel) -> dict[str, float]:
    """Return what differs between the objectives: means over the iterations, and what they have made of the model."""
    means = {title: fmean(run.curves.by_step(name)[1]) for title, name in MEANS.items() if name in run.curves}
    numbers = {title: 100 * value if title.endswith("%") else value for title, value in means.items()}
    first = flat(start)
    return numbers | {
        "entropy": run.curves.by_iteration("train/entropy")[1][-1],
        "KL to start": divergence(run, start),
        "moved %": 100 * float((flat(run.model) - first).norm() / first.norm()),
        "from recorder %": 100 * float((flat(run.model) - flat(recorded.model)).norm() / first.norm()),
        "off-policy at the end": run.curves.by_iteration("rollout/gap_exp")[1][-1],
    }


def flat(model: PreTrainedModel) -> Tensor:
    """Return all weights as one vector."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@torch.no_grad()
def divergence(run: Run, start: PreTrainedModel) -> float:
    """Return KL(model, start) per token in nats, exact over the vocabulary, on greedy continuations of 32 problems."""
    prompts = [torch.tensor([prompt.token_ids]) for prompt in run.data.prompts["train"][:32]]
    total, tokens = 0.0, 0
    for prompt in prompts:
        sequence = run.model.generate(prompt, max_new_tokens=24, do_sample=False)
        ours, theirs = (
            model(sequence).logits[0, prompt.shape[1] - 1 : -1].double().log_softmax(-1) for model in (run.model, start)
        )
        total += float((ours.exp() * (ours - theirs)).sum())
        tokens += len(ours)
    return total / tokens


def print_table(numbers: Mapping[str, Mapping[str, float]]) -> None:
    """Print one row per number and one column per objective."""
    table = Table(title="The same completions, the same rewards, four objectives", title_justify="left")
    table.add_column("")
    for name in numbers:
        table.add_column(name, justify="right")
    for title in dict.fromkeys(title for found in numbers.values() for title in found):
        table.add_row(title, *(f"{found[title]:.4g}" if title in found else "-" for found in numbers.values()))
    Console(width=100).print(table)


def print_caveat(curves: Mapping[str, Curves], numbers: Mapping[str, Mapping[str, float]]) -> None:
    """Say how far from on-policy each objective was, iteration by iteration, and what may be concluded."""
    if numbers[RECORDER]["from recorder %"] == 0:
        print(f"The replay of {RECORDER} ended with exactly the weights of the recorded run: nothing was lost in recording.")
    print("\nMean of e^|log pi - log pi_recorder| as each iteration begins (1: the policy wrote these completions itself):")
    for name, found in curves.items():
        print(f"  {name:6}", *(f"{gap:7.3f}" for gap in found.by_iteration("rollout/gap_exp")[1]))
    print(
        f"\nIn the first iteration all start from the weights that wrote the completions. From then on {RECORDER} wrote them, and the "
        "others\nlearn from what somebody else tried: their differences hold this growing off-policyness too. A reward cannot tell them "
        "apart here:\nthe completions, and so the rewards, are the same. Which objective learns best takes runs with rollouts of their own."
    )


if __name__ == "__main__":
    main()
