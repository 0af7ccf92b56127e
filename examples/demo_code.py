"""Programs that are run: does it help to pay for a share of the tests? SFT once, then RL with the soft and with the hard reward.

    python examples/demo_code.py --seed 0

Both runs start from the same model, and see the same problems in the same order. Every step is a `lit-rlvr` command that is printed
before it runs. All accuracies count programs that pass every hidden test.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from demo import CONFIGS, policy, root, step

if TYPE_CHECKING:
    from lit_rlvr.metrics.intervals import Estimate

ARMS = ("soft", "hard")


def main() -> None:
    """Run the demo and print where its results are."""
    parser = argparse.ArgumentParser(description="SFT, then RL on programs with soft and hard reward, on the CPU.")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data and sampling")
    parser.add_argument("--out", type=Path, default=None, help="folder for everything (default: runs/demo_code/seed<SEED>)")
    parser.add_argument("--objective", default="dapo", help="an overlay of configs/objective, such as gppo or aspo")
    parser.add_argument(
        "--lazy-share", type=float, default=0.6, help="demonstrations that forget a case: how rarely RL starts right"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the model; the sandbox has a process per CPU")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is imported
    run(args.out or Path(f"runs/demo_code/seed{args.seed}"), args.seed, args.objective, args.lazy_share)


def run(out: Path, seed: int, objective: str, lazy_share: float) -> None:
    """Run every step into `out` and write `result.json` and the figures there."""
    seconds: dict[str, float] = {}
    quickstart = CONFIGS / "quickstart"
    careless = f"--data.init_args.train.init_args.lazy_share={lazy_share}"
    sft = ["-c", quickstart / "code_sft.yaml", "--seed_everything", seed, careless]
    rl = ["-c", quickstart / "code_rl.yaml", "-c", CONFIGS / f"objective/{objective}.yaml", "--seed_everything", seed]

    model = ["--config", quickstart / "code_model.yaml", "--seed", seed, "--overwrite", "true"]
    step(seconds, "model", "make-model", f"{out}/base", *model)
    step(seconds, "sft", "sft", "fit", *sft, policy(out / "base"), root(out / "sft"))
    step(seconds, "evaluation before", "rl", "test", *rl, policy(out / "sft/model"), root(out / "before"))
    for arm in ARMS:
        overlay = ["-c", quickstart / f"code_{arm}.yaml"]
        step(seconds, f"rl {arm}", "rl", "fit", *rl, *overlay, policy(out / "sft/model"), root(out / arm))
        step(seconds, f"evaluation {arm}", "rl", "test", *rl, policy(out / f"{arm}/model"), root(out / f"after_{arm}"))
    summarize(out, seconds, seed)


def summarize(out: Path, seconds: dict[str, float], seed: int) -> None:
    """Print the table, draw the figures and write `result.json`."""
    from rich.console import Console

    from lit_rlvr.report import draw_comparison, read_estimates
    from lit_rlvr.report.summary import seconds_table

    folders = {"before": out / "before", **{arm: out / f"after_{arm}" for arm in ARMS}}
    results = {name: read_estimates(folder, "test") for name, folder in folders.items()}
    gain = advantage(out / "after_soft", out / "after_hard")
    seconds["total"] = round(sum(seconds.values()), 2)
    print_table(results, gain)
    Console().print(seconds_table(seconds))
    figures = draw_comparison({f"{arm} reward": out / arm / "logs" for arm in ARMS}, out / "figures")
    written = {name: {measure: e.to_dict() for measure, e in found.items()} for name, found in results.items()}
    result = out / "result.json"
    result.write_text(json.dumps({**written, "soft minus hard": gain.to_dict(), "seconds": seconds, "seed": seed}, indent=2))
    print("\nFigures:", *(f"  {path}" for path in figures), f"Numbers:\n  {result}", sep="\n")


def advantage(soft: Path, hard: Path) -> "Estimate":
    """Return by how much the soft reward's avg@k is higher, with a 95 % interval over problems: each is compared with itself."""
    import torch

    from lit_rlvr.metrics.intervals import Estimate, bootstrap_interval

    ours, theirs = shares(soft), shares(hard)
    differences = torch.tensor([ours[problem] - theirs[problem] for problem in sorted(ours)])
    found = bootstrap_interval((differences + 1) / 2)
    return Estimate(*(2 * bound - 1 for bound in (found.value, found.low, found.high)))


def shares(folder: Path) -> dict[str, float]:
    """Return the share of right samples of each test problem, from the rollouts that an evaluation left on disk."""
    (path,) = folder.glob("logs/version_*/rollouts/test_*.jsonl")
    right: dict[str, list[bool]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        right.setdefault(row["prompt_id"], []).append(row["is_correct"])
    return {problem: sum(found) / len(found) for problem, found in right.items()}


def print_table(results: Mapping[str, Mapping[str, "Estimate"]], gain: "Estimate") -> None:
    """Print the measures before and after, and the difference between the rewards."""
    from rich.console import Console
    from rich.table import Table

    headings = {"before": "before RL", "soft": "soft reward", "hard": "hard reward"}
    table = Table(title="Programs that pass every hidden test (%, with 95 % intervals)", title_justify="left")
    table.add_column("measure")
    for name in results:
        table.add_column(headings[name], justify="right")
    for measure in results["before"]:
        table.add_row(measure, *(in_percent(found[measure]) for found in results.values()))
    console = Console()
    console.print(table)
    console.print(f"avg@8, soft minus hard, problem by problem: {in_percent(gain)}", highlight=False)


def in_percent(estimate: "Estimate") -> str:
    """Return an estimate in percent."""
    value, low, high = (f"{100 * bound:.1f}" for bound in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
