"""The token lens as one HTML file: no network, nothing to install, opens from disk."""

import base64
import hashlib
import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives import PolicyObjective
from lit_rlvr.report.token_lens import CompletionLens, ObjectiveView, SignSummary, State, lens, summarize
from lit_rlvr.report.token_records import TokenRecord

MAX_TOKENS = 4000
"""The page shows so many tokens of a completion; the table counts them all."""

STATES: tuple[State, ...] = get_args(State)
COLUMNS = {
    "ratio": "ratio r",
    "logprob": "log-prob",
    "old_logprob": "old log-prob",
    "rollout_logprob": "engine's log-prob",
    "entropy": "entropy (nats)",
    "advantage": "advantage A",
    "loss_weight": "loss weight",
}
"""What the page says about a token, and in which words."""


def write_lens(
    path: str | os.PathLike[str],
    records: Sequence[TokenRecord],
    objectives: Mapping[str, PolicyObjective],
    title: str = "Token lens",
    max_completions: int = 50,
) -> Path:
    """Write the page, and return its path.

    Args:
        path: the HTML file; its folder is made if need be.
        records: completions, from `read_tokens`.
        objectives: objectives by the name the page calls them. The first colours the tokens when the page opens; the others are
            a choice away.
        title: heading of the page.
        max_completions: show the completions with the most clipped tokens (under any objective), so many of them. The table
            counts all.

    Raises:
        ValueError: `max_completions` is below 1, or there are no records or objectives.
    """
    path = Path(path)
    page = lens_page(lens(records, list(objectives.values())), list(objectives), title, max_completions)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def lens_page(completions: Sequence[CompletionLens], labels: Sequence[str], title: str, max_completions: int = 50) -> str:
    """Return the HTML of completions under objectives with these names; see `write_lens`."""
    if max_completions < 1:
        raise ValueError(f"max_completions must be at least 1, got {max_completions}")
    order = sorted(range(len(completions)), key=lambda i: (-_most_clipped(completions[i]), i))
    shown = sorted(order[:max_completions])
    package = files("lit_rlvr.report")
    template, script, style = (package.joinpath(f"token_lens.{kind}").read_text("utf-8") for kind in ("html", "js", "css"))
    values = {
        "policy": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "facts": _facts(completions, len(shown)),
        "summary": _summary_table(summarize(completions), labels),
        "data": _embedded(
            {
                "objectives": labels,
                "states": STATES,
                "columns": COLUMNS,
                "completions": [_completion_data(completions[i], i + 1) for i in shown],
            }
        ),
        "style": style,
        "script": script,
    }
    # In one pass: what is put in, a completion with braces for example, is not searched again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def _most_clipped(completion: CompletionLens) -> int:
    return max(view.count("clipped") for view in completion.views)


def _facts(completions: Sequence[CompletionLens], num_shown: int) -> str:
    """Return what the file is, as paragraphs: one line for each optimizer step in it."""
    steps: dict[str, int] = {}
    for record in (completion.record for completion in completions):
        name = str(record.objective.get("class_path", "unknown")).rsplit(".", 1)[-1]
        settings = ", ".join(f"{key}={value!r}" for key, value in dict(record.objective.get("init_args", {})).items())
        step = (
            f"Iteration {record.iteration}, optimizer step {record.optimizer_step}, trained with {name}({settings}) at "
            f"temperature {record.temperature:g}"
        )
        steps[step] = steps.get(step, 0) + 1
    lines = [f"{step}: {count} completions" for step, count in steps.items()]
    if num_shown < len(completions):
        lines.append(
            f"Shown below: the {num_shown} of {len(completions)} completions with the most clipped tokens. The table counts all."
        )
    return "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _summary_table(rows: Sequence[SignSummary], labels: Sequence[str]) -> str:
    headings = ("Objective", "Advantage", "Tokens", "Clipped", "Bounded", "Boosted", "Inverted", "Gradient mass")
    head = "".join(f'<th scope="col"{" class=word" if i < 2 else ""}>{name}</th>' for i, name in enumerate(headings))
    body = []
    for row in rows:
        shares = "".join(f"<td>{100 * share:.1f} %</td>" for share in (row.clipped, row.bounded, row.boosted, row.inverted))
        sign = "A &gt; 0" if row.is_positive else "A &lt; 0"
        body.append(
            f'<tr><th scope="row">{html.escape(labels[row.objective])}</th><td class="word">{sign}</td><td>{row.num_tokens}</td>'
            f"{shares}<td>{row.gradient_mass:.4g}</td></tr>"
        )
    caption = "Shares of the tokens with an advantage of that sign. Gradient mass: sum of |loss weight · A · w|."
    return (
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table>"
    )


def _completion_data(completion: CompletionLens, number: int) -> dict[str, Any]:
    record = completion.record
    finite = completion.ratio[completion.ratio.isfinite()]
    columns = {name: getattr(record if name != "ratio" else completion, name)[:MAX_TOKENS] for name in COLUMNS}
    return {
        "number": number,
        "is_correct": record.is_correct,
        "reward": record.reward,
        "prompt": record.prompt,
        "num_tokens": len(record.token),
        "mean_advantage": _rounded(float(record.advantage.mean())),
        "max_ratio": _rounded(float(finite.max())) if len(finite) else None,
        "token": record.token[:MAX_TOKENS],
        "token_id": record.token_id[:MAX_TOKENS],
        **{name: _numbers(values) for name, values in columns.items()},
        "views": [_view_data(view) for view in completion.views],
    }


def _view_data(view: ObjectiveView) -> dict[str, Any]:
    """Return a view; its states as one letter each, `a` for the first of `STATES`."""
    return {
        "num_clipped": view.count("clipped"),
        "weight": _numbers(view.weight[:MAX_TOKENS]),
        "states": "".join(chr(ord("a") + STATES.index(state)) for state in view.state[:MAX_TOKENS]),
        "inverted": "".join("01"[flag] for flag in view.is_inverted[:MAX_TOKENS].tolist()),
    }


def _numbers(values: Float[Tensor, " N"]) -> list[float | None]:
    return [_rounded(value) for value in values.tolist()]


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the script element it stands in, nor open a comment: it holds no `<`, `>` or `&`."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
