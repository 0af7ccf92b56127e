"""What the objective, the reduction and the metrics cost of an RL step of the demo, and the step against one with a bare loss.

    python examples/benchmarks/objective_cost.py --threads 1 --rounds 15

An RL step is one iteration with the settings of `configs/quickstart/rl.yaml`: generate, judge, score with the policy, two optimizer
steps of two micro-batches, log to CSV and TensorBoard. It leaves out the callbacks that write files and draw the progress bar, which
makes the step shorter and the shares larger. The training phase is what follows the first micro-batch. The model is the demo's
after its supervised start (made and trained here, a minute, unless `--model` names a folder).

Every part is timed inside these steps, where it runs: a table for each objective has its milliseconds, and its share of the RL step
and of the training phase. The `backward` part is from the start of the backward pass to the gradient of the objective's log-probs.
There are two sums: without and with what Lightning and its loggers take to hand on the values at the end of an iteration, which
depends on the number of values only. The entropy is computed along with the log-probs and has no row; the ratios include it.

The alternative is the same RL step with the loss `-(advantages * logprobs * loss_weights).sum()`: no objective, ledger, entropy,
statistics or logging, and no norm of the gradient but the one it is clipped to. In a round each of them takes one step, in turns,
from the same weights on the same prompts with the same seeds, hence on the same rollouts. Figures are medians of rounds, ratios
medians of the ratio within a round, with the quartiles.
"""

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import fmean, median

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from measured_step import BARE, LOGGING, OBJECTIVES, ROLLOUT_STATISTICS, MeasuredModule, StepCost, watched
from stopwatch import Stopwatch

from lit_rlvr.cli import main as lit_rlvr
from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.rewards import ExactAnswer
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.filters import ZeroAdvantageFilter
from lit_rlvr.tasks import AdditionPrompts

OPTIMIZER_STEPS = 2
MICRO_BATCHES = 2


def taught_model(folder: str) -> str:
    """Make the demo's model, give it the supervised start, and return its folder."""
    configuration = Path(__file__).parents[2] / "configs/quickstart/sft.yaml"
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.logger", "false"]
    supervised = ["-c", str(configuration), "--model.init_args.policy.path", f"{folder}/base", *quiet]
    print("the demo's model gets its supervised start", flush=True)
    with redirect_stdout(StringIO()):
        status = lit_rlvr(["make-model", f"{folder}/base"])
        status = status or lit_rlvr(["sft", "fit", *supervised, "--trainer.default_root_dir", f"{folder}/sft"])
    if status:
        raise SystemExit(status)
    return f"{folder}/sft/model"


def demo_data(model: str, args: argparse.Namespace) -> RolloutDataModule:
    """Return the data of `configs/quickstart/rl.yaml`, without validation."""
    return RolloutDataModule(
        format=PromptFormat(model),
        train=AdditionPrompts("train", num=8192, max_digits=4),
        rewards={"answer": ExactAnswer()},
        filters=[] if args.keep_all_groups else [ZeroAdvantageFilter()],
        sampling=SamplingParams(max_tokens=args.max_tokens, temperature=1.0),
        iteration=IterationConfig(args.prompts, args.group_size, num_mini_batches=OPTIMIZER_STEPS, reduction="token-mean"),
    )


def measure(model: str, args: argparse.Namespace, folder: str) -> MeasuredModule:
    """Train the rounds, after one that warms up, and return the module with the costs."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    stopwatch = Stopwatch()
    module = MeasuredModule(PolicyConfig(model), stopwatch, args.prompts)
    trainer = Trainer(
        max_epochs=(args.rounds + 1) * len(module.costs),
        accumulate_grad_batches=MICRO_BATCHES,
        gradient_clip_val=1.0,
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        logger=[CSVLogger(folder, name="logs"), TensorBoardLogger(folder, name="tensorboard")],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with watched(stopwatch), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = demo_data(model, args)
        data.rollout_observers.append(module.count_groups)
        trainer.fit(module, datamodule=data)
    for costs in module.costs.values():
        del costs[0]
    return module


def print_parts(name: str, costs: Sequence[StepCost]) -> None:
    """Print milliseconds and shares of each part of the RL steps with one objective."""
    step, training = (1e3 * median(getattr(cost, phase) for cost in costs) for phase in ("total", "training"))
    print(f"\n{name}: RL step {step:.0f} ms, of that training phase {training:.0f} ms")
    print(
        f"  {'part':38} {'calls':>5} {'ms/optimizer step':>18} {'ms/iteration':>13} {'% of RL step':>13} {'% of training':>14}"
    )
    rows: dict[str, Sequence[str]] = {part: [other for other in costs[0].parts if other != part] for part in costs[0].parts}
    rows |= {"OBJECTIVE, REDUCTION, METRICS": LOGGING, "the same with logging": ()}
    for row, left_out in rows.items():
        milliseconds = 1e3 * median(cost.seconds(left_out) for cost in costs)
        share = 100 * median(cost.seconds(left_out) / cost.total for cost in costs)
        of_training = 100 * median(cost.seconds((*left_out, ROLLOUT_STATISTICS)) / cost.training for cost in costs)
        calls = costs[0].calls.get(row, "")
        print(
            f"  {row:38} {calls:>5} {milliseconds / OPTIMIZER_STEPS:>18.2f} {milliseconds:>13.2f} {share:>13.2f} {of_training:>14.2f}"
        )


def print_ratios(costs: dict[str, list[StepCost]]) -> None:
    """Print how much longer a step is than the bare one, on the same rollouts."""
    bare = costs[BARE]
    step, training = (1e3 * median(getattr(cost, phase) for cost in bare) for phase in ("total", "training"))
    print(f"\nagainst the {BARE}: RL step {step:.0f} ms, of that training phase {training:.0f} ms")
    heads = (f"{phase:>9} {'quartiles':>13}" for phase in ("RL step", "training"))
    print(f"  {'objective':38} {' '.join(heads)}")
    for name in OBJECTIVES:
        cells = []
        for phase in ("total", "training"):
            ours, theirs = ([getattr(cost, phase) for cost in steps] for steps in (costs[name], bare))
            ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
            quarter = len(ratios) // 4
            cells.append(f"{median(ratios):>9.3f} {f'{ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f}':>13}")
        print(f"  {name:38} {' '.join(cells)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of the model to start from (default: made and taught here)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; the demo has 1")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds, after one that warms up")
    parser.add_argument("--prompts", type=int, default=32, help="prompts of an RL step")
    parser.add_argument("--group-size", type=int, default=8, help="completions per prompt")
    parser.add_argument("--max-tokens", type=int, default=80, help="longest completion")
    parser.add_argument("--keep-all-groups", action="store_true", help="train on groups without advantage too, unlike the demo")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        module = measure(args.model or taught_model(folder), args, folder)
    print(
        f"{args.prompts} prompts x {args.group_size}, at most {args.max_tokens} tokens (mean length {fmean(module.lengths):.1f}), "
        f"{fmean(module.kept):.0f} completions trained on; {args.rounds} rounds, {args.threads} threads, "
        f"load of the machine {os.getloadavg()[0]:.1f}"
    )
    for name in OBJECTIVES:
        print_parts(name, module.costs[name])
    print_ratios(module.costs)


if __name__ == "__main__":
    main()
