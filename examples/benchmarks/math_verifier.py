r"""Accuracy and speed of `MathReward` and of math-verify called plainly, on the same pairs in the same run.

    python examples/benchmarks/math_verifier.py pairs.jsonl --rounds 3

Each line of the file is one pair: `{"gold": "\\frac{1}{2}", "pred": "... \\boxed{0.5}", "equal": true}`. A prediction without a
box is put into one, for every grader. Graders take turns, and a rate is the median of its rounds: pairs per second of CPU time,
that of the verifier's processes included and their start not counted, so that a busy machine changes little. `MathReward`
is measured twice: as it is, and with every pair sent to its verifier, without the fast path for equal spellings and numbers.
math-verify runs in this process, with its own time-outs (by signals, in the main thread: not what a trainer could do).

The rates on numbers, fractions and polynomials are of generated pairs, half of them equal; those of the file depend on the file.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from lit_rlvr.rewards import MathReward, extract_answer
from lit_rlvr.rewards.verifier import MathVerifier
from lit_rlvr.rewards.verifier_worker import GaveUpError, VerifierError
from lit_rlvr.types import Completion, Prompt

Pair = tuple[str, str, bool]
"""Gold answer, text with the answer, and whether they are equal."""
Grader = Callable[[str, str], bool | None]
"""Judges a gold answer and a text; None for an error."""
BOXED_FIRST = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())


def read_pairs(path: str, limit: int | None) -> list[Pair]:
    """Return the pairs of a file, at most `limit`."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()[:limit]]
    return [(row["gold"], row["pred"] if "boxed" in row["pred"] else rf"\boxed{{{row['pred']}}}", row["equal"]) for row in rows]


def generated_pairs(form: str, other: str, num: int) -> list[Pair]:
    """Return pairs of `form` and `other`, filled with numbers; every second answer is off by one."""
    return [(form % (n + 2), rf"\boxed{{{other % (n + 2 + n % 2)}}}", n % 2 == 0) for n in range(num)]


def math_reward() -> tuple[Grader, Callable[[], None]]:
    """Return MathReward with one process, and how to stop it."""
    reward = MathReward(num_workers=1)

    def judge(gold: str, text: str) -> bool | None:
        verdict = reward(Prompt("pair", (), answer=gold), Completion((1,), (0.0,), "stop", text=text))
        return None if verdict.is_error else verdict.score == 1.0

    return judge, reward.close


def verifier_only() -> tuple[Grader, Callable[[], None]]:
    """Return the verifier of MathReward alone, and how to stop it."""
    verifier = MathVerifier(num_workers=1)

    def judge(gold: str, text: str) -> bool | None:
        try:
            return verifier.equivalent(gold, extract_answer(text).text)
        except GaveUpError:
            return False
        except VerifierError:
            return None

    return judge, verifier.close


def plain_math_verify() -> tuple[Grader, Callable[[], None]]:
    """Return math-verify as its documentation calls it, but preferring boxes, and nothing to stop."""

    def judge(gold: str, text: str) -> bool | None:
        gold = gold if "$" in gold or "boxed" in gold else rf"\boxed{{{gold}}}"
        return bool(verify(parse(gold, BOXED_FIRST), parse(text, BOXED_FIRST)))

    return judge, lambda: None


GRADERS: dict[str, Callable[[], tuple[Grader, Callable[[], None]]]] = {
    "MathReward": math_reward,
    "MathReward, no fast path": verifier_only,
    "math-verify, in process": plain_math_verify,
}


def measure(pairs: Sequence[Pair], rounds: int) -> dict[str, tuple[Counter[str], float]]:
    """Return for every grader how often it was right or wrong in which way, and its pairs per second."""
    outcomes: dict[str, Counter[str]] = {}
    rates: dict[str, list[float]] = {name: [] for name in GRADERS}
    for _ in range(rounds):
        for name, start in GRADERS.items():
            judge, stop = start()
            judge("x+1", r"\boxed{1+x}")
            before = cpu_seconds()
            found = [judge(gold, text) for gold, text, _ in pairs]
            rates[name].append(len(pairs) / (cpu_seconds() - before))
            stop()
            outcomes[name] = Counter(map(_outcome, found, (equal for *_, equal in pairs)))
    return {name: (outcomes[name], median(rates[name])) for name in GRADERS}


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all below it, those that have ended included; of this one only without /proc."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended in between
        pid = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    below = children.get(os.getpid(), [])
    for pid in below:
        below += children.get(pid, [])
    return time.process_time() + sum(ticks[pid] for pid in below) / os.sysconf("SC_CLK_TCK")


def _outcome(found: bool | None, equal: bool) -> str:
    if found is None:
        return "error"
    return "right" if found == equal else "false positive" if found else "false negative"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each set of pairs and grader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", help="JSON lines with gold, pred and equal")
    parser.add_argument("--limit", type=int, help="at most this many pairs of the file")
    parser.add_argument("--generated", type=int, default=200, help="pairs of each generated set")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    sets = {
        Path(options.pairs).name: read_pairs(options.pairs, options.limit),
        "integers": generated_pairs("%d", "%d", options.generated),
        "fractions": generated_pairs(r"\frac{1}{%d}", r"\dfrac{2}{2\cdot %d}", options.generated),
        "polynomials": generated_pairs("x^2+%dx", "x(x+%d)", options.generated),
    }
    print(f"{'pairs':24} {'grader':26} {'number':>6} {'right':>6} {'FP':>4} {'FN':>4} {'errors':>6} {'pairs/CPU-s':>11}")
    for title, pairs in sets.items():
        for name, (counts, rate) in measure(pairs, options.rounds).items():
            kinds = [counts[kind] for kind in ("right", "false positive", "false negative", "error")]
            print(f"{title:24} {name:26} {len(pairs):6} {kinds[0]:6} {kinds[1]:4} {kinds[2]:4} {kinds[3]:6} {rate:11.1f}")


if __name__ == "__main__":
    main()
