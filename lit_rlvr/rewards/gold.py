"""Gold answers that could never be matched, reported all together."""

import warnings
from collections.abc import Mapping, Sequence

from lit_rlvr.types import Prompt

SHOWN = 5
"""Prompts that are named in a report."""


def report_gold_problems(prompts: Sequence[Prompt], problems: Mapping[str, str], max_share: float) -> None:
    """Warn of prompts whose gold answer has a problem, or refuse them when they are too many.

    Args:
        prompts: all prompts.
        problems: what is wrong with a gold answer, by the answer.
        max_share: share of the prompts up to which it is a warning.

    Raises:
        ValueError: more than `max_share` of the prompts have an answer with a problem; names the first of them.
    """
    bad = [prompt for prompt in prompts if prompt.answer in problems]
    if not bad:
        return
    rows = [f"prompt {p.id!r} of {p.source or 'no source'!r}: {p.answer[:80]!r} {problems[p.answer]}" for p in bad[:SHOWN]]
    more = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    message = (
        f"{len(bad)} of {len(prompts)} gold answers ({len(bad) / len(prompts):.1%}) cannot be verified, so that no completion of "
        "theirs could be judged fairly:\n  " + "\n  ".join(rows + more) + "\nCorrect these answers or leave the rows out"
    )
    if len(bad) > max_share * len(prompts):
        raise ValueError(f"{message}; `max_bad_golds` ({max_share:g}) is the share that is only warned of.")
    warnings.warn(f"{message}.", stacklevel=2)
