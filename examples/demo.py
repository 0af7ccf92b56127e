"""The whole loop on a laptop: make a tiny model, teach it, let it learn from rewards, measure it before and after.

    python examples/demo.py --seed 0

Every step is a `lit-rlvr` command that is printed before it runs, so each can be repeated by hand. The tiny model is fastest on one
thread; `--threads` changes that.
"""

import argparse
import os
import shlex
import time
from pathlib import Path

CONFIGS = Path(__file__).parent.parent / "configs"


def main() -> None:
    """Run the demo and print where its results are."""
    parser = argparse.ArgumentParser(description="SFT, RL with verifiable rewards, and evaluation, on the CPU.")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data and sampling")
    parser.add_argument("--out", type=Path, default=None, help="folder for everything (default: runs/demo/seed<SEED>)")
    parser.add_argument("--objective", default="dapo", help="an overlay of configs/objective, such as gppo or aspo")
    parser.add_argument("--iterations", type=int, default=None, help="RL iterations (default: those of the configuration)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is imported
    run(args.out or Path(f"runs/demo/seed{args.seed}"), args.seed, args.objective, args.iterations)


def run(out: Path, seed: int, objective: str, iterations: int | None) -> None:
    """Run every step into `out` and write `result.json` and the figures there."""
    seconds: dict[str, float] = {}
    rl = ["-c", CONFIGS / "quickstart/rl.yaml", "-c", CONFIGS / f"objective/{objective}.yaml", "--seed_everything", seed]
    length = [f"--trainer.max_epochs={iterations}"] if iterations else []

    step(seconds, "model", "make-model", f"{out}/base", "--seed", seed, "--overwrite", "true")
    sft = ["-c", CONFIGS / "quickstart/sft.yaml", "--seed_everything", seed]
    step(seconds, "sft", "sft", "fit", *sft, policy(out / "base"), root(out / "sft"))
    step(seconds, "evaluation before", "rl", "test", *rl, policy(out / "sft/model"), root(out / "before"))
    step(seconds, "rl", "rl", "fit", *rl, *length, policy(out / "sft/model"), root(out / "rl"))
    step(seconds, "evaluation after", "rl", "test", *rl, policy(out / "rl/model"), root(out / "after"))
    summarize(out, seconds, seed)


def step(seconds: dict[str, float], name: str, *command: object) -> None:
    """Print a `lit-rlvr` command, run it in this process, and remember how long it took."""
    from lit_rlvr.cli import main as lit_rlvr

    arguments = [str(part) for part in command]
    print(f"\n$ lit-rlvr {shlex.join(arguments)}", flush=True)
    start = time.perf_counter()
    status = lit_rlvr(arguments)
    if status:
        raise SystemExit(status)
    seconds[name] = round(time.perf_counter() - start, 2)


def policy(path: Path) -> str:
    """Return the flag that chooses the model to start from."""
    return f"--model.init_args.policy.path={path}"


def root(path: Path) -> str:
    """Return the flag that chooses where the run leaves its results."""
    return f"--trainer.default_root_dir={path}"


def summarize(out: Path, seconds: dict[str, float], seed: int) -> None:
    """Print the table, draw the figures and write `result.json`."""
    from lit_rlvr.report import draw_before_after, draw_run, print_summary, read_estimates, write_result

    before, after = read_estimates(out / "before", "test"), read_estimates(out / "after", "test")
    seconds["total"] = round(sum(seconds.values()), 2)
    print()
    print_summary(before, after, seconds)
    figures = [draw_before_after(before, after, out / "figures/before_after.png"), *draw_run(out / "rl/logs", out / "figures")]
    result = write_result(out / "result.json", before, after, seconds, seed)
    print("\nFigures:", *(f"  {path}" for path in figures), f"Numbers:\n  {result}", sep="\n")


if __name__ == "__main__":
    main()
