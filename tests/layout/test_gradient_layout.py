"""The gradient of an optimizer step does not depend on its layout, and is the one that the formulas give.

Ranks x micro-batches x padded or packed x DDP or FSDP2 x objectives x reductions, through the real Trainer, on rows of uneven
length: some have no token in the loss (whole micro-batches, and with four ranks a whole rank, consist of them), and the second
optimizer step has fewer rows than there are micro-batches. By default every objective and reduction is run in some layouts of
each number of ranks; `LIT_RLVR_ALL_LAYOUTS=1` runs them all (`make layouts`).
"""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from layout_worker import OBJECTIVES, REDUCTIONS, policy_config, write_model
from torch.nn import functional

from lit_rlvr.data.iteration import Iteration
from lit_rlvr.modules.policy import Policy
from lit_rlvr.objectives import ObjectiveInputs
from lit_rlvr.ops import kl_k3
from lit_rlvr.types import RolloutBatch

WORKER = Path(__file__).parent / "layout_worker.py"
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
"""Norm of the difference of two gradients, relative to the norm of one."""
LENGTHS = [(2, 1), (3, 4), (2, 7), (5, 2), (4, 9), (2, 3), (3, 6), (2, 5)]
"""Tokens of the prompt and of the completion of the rows that are trained on."""
MASKED_LENGTHS = [(4, 13), (2, 15), (5, 14)]
"""The longest rows have no token in the loss, so that the micro-batches of long rows are all masked."""
STEPS = [list(range(11)), [1, 4], [8, 9, 10]]
ALL = "LIT_RLVR_ALL_LAYOUTS" in os.environ


def make_iteration(model: Path, dtype: str) -> Iteration:
    """Return fixed rollouts with ratios on both sides of every clip range."""
    generator = torch.Generator().manual_seed(3)
    lengths = LENGTHS + MASKED_LENGTHS
    size = (len(lengths), max(map(sum, lengths)))
    number = getattr(torch, dtype)
    columns = torch.arange(size[1])
    attention_mask = torch.stack([columns < prompt + completion for prompt, completion in lengths])
    loss_mask = attention_mask & torch.stack([columns >= prompt for prompt, _ in lengths])
    loss_mask[len(LENGTHS) :] = False
    loss_mask[2, 5] = False  # a hole, as tool output would be
    batch = RolloutBatch(
        input_ids=torch.randint(1, 24, size, generator=generator) * attention_mask,
        attention_mask=attention_mask,
        loss_mask=loss_mask,
        advantages=torch.randn(size[0], 1, generator=generator).to(number) * loss_mask,
        rewards=torch.zeros(size[0]),
        is_correct=torch.arange(size[0]) % 3 == 1,
        rollout_logprobs=torch.zeros(size),
        loss_weights=torch.zeros(size),
        positive_weights=torch.zeros(size),
        temperature=0.9,
    )
    scored = Policy(policy_config(model, dtype)).score(batch)
    assert scored.old_logprobs is not None
    drift, other = (torch.randn(size, generator=generator).to(number) * loss_mask for _ in range(2))
    weights = (0.5 + torch.rand(size, generator=generator)) * loss_mask
    return Iteration(
        0,
        RolloutBatch(
            **{
                **vars(scored),
                "old_logprobs": scored.old_logprobs + 0.6 * drift,
                "ref_logprobs": scored.old_logprobs + 0.3 * other,
                "rollout_weights": weights,
            }
        ),
        STEPS,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    write_model(folder / "model")
    iterations = {dtype: make_iteration(folder / "model", dtype) for dtype in TOLERANCE}
    torch.save({dtype: iteration.state_dict() for dtype, iteration in iterations.items()}, folder / "iteration.pt")
    for dtype, iteration in iterations.items():
        torch.save(naive_gradients(folder / "model", iteration), folder / f"reference_{dtype}.pt")
    return folder / "iteration.pt"


def run(
    data: Path, out: Path, world: int, strategy: str, dtype: str, layouts: str, objectives: str
) -> dict[tuple[str, str], list[torch.Tensor]]:
    """Run a worker per rank; return the gradients of each objective and layout."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = []
    for rank in range(world):
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        if world > 1:
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "RANK": str(rank)}
            env |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "layout"}
        command = [sys.executable, str(WORKER), str(data), str(out), strategy, dtype, layouts, objectives]
        with open(f"{out}.log{rank}", "w") as log:
            ranks.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env))
    codes = [process.wait(timeout=3600 if ALL else 280) for process in ranks]
    assert codes == [0] * world, Path(f"{out}.log{codes.index(next(filter(None, codes)))}").read_text()[-3000:]
    return torch.load(out, weights_only=True)


def naive_gradients(model: Path, iteration: Iteration) -> dict[str, list[torch.Tensor]]:
    """Return the gradients by the formulas: one row after the other, full logits, no loss weights, in float64."""
    dtype = str(iteration.batch.advantages.dtype).removeprefix("torch.")
    net = Policy(policy_config(model, dtype)).model.double()
    rows = [naive_row(net, iteration.batch, row) for row in range(len(iteration.batch.input_ids))]
    parameters = [p for _, p in sorted(net.named_parameters())]
    gradients: dict[str, list[torch.Tensor]] = {}
    for name in OBJECTIVES:
        sums = [naive_loss(name, row) for row in rows]
        totals = [naive_total(name, kind, divisor, [sums[i] for i in step]) for kind, divisor in REDUCTIONS for step in STEPS]
        for total in totals:
            found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            gradients.setdefault(name, []).append(torch.cat([g.flatten() for g in found]))
    return gradients


@dataclass(frozen=True)
class Row:
    """One completion without padding, its tokens scored with all their logits."""

    x: ObjectiveInputs
    entropy: torch.Tensor
    ref_logprobs: torch.Tensor
    rollout_weights: torch.Tensor
    is_correct: bool


def naive_row(net: Any, batch: RolloutBatch, row: int) -> Row:
    length = int(batch.attention_mask[row].sum())
    ids, mask = batch.input_ids[row : row + 1, :length], batch.loss_mask[row : row + 1, :length]
    everything = torch.log_softmax(net(input_ids=ids).logits[:, :-1] / batch.temperature, dim=-1)
    entropy = functional.pad(-(everything.exp() * everything).sum(-1), (1, 0))
    logprobs = functional.pad(everything.gather(-1, ids[:, 1:, None])[..., 0], (1, 0)) * mask
    of_row = (batch.old_logprobs, batch.advantages, batch.ref_logprobs, batch.rollout_weights)
    old, advantages, ref, weights = (x[row : row + 1, :length].double() for x in of_row if x is not None)
    x = ObjectiveInputs(logprobs, old, advantages, mask, entropy.detach())
    return Row(x, entropy, ref, weights, bool(batch.is_correct[row]))


def naive_loss(name: str, row: Row) -> tuple[torch.Tensor, int, torch.Tensor]:
    """Return the sum of the token losses of a row, its tokens in the loss, and its negative log-likelihood if it is correct."""
    mask = row.x.loss_mask
    loss = OBJECTIVES[name][0](row.x)[0] * row.rollout_weights
    if name == "terms":
        loss = loss + 0.1 * kl_k3(row.x.logprobs, row.ref_logprobs) - 0.05 * row.entropy
    if name == "archer" and mask.any():
        is_low = row.entropy <= row.entropy[mask].quantile(0.8)
        loss = loss + 0.1 * kl_k3(row.x.logprobs, row.ref_logprobs) * is_low
    return loss[mask].sum(), int(mask.sum()), -row.x.logprobs[mask].sum() if row.is_correct else torch.zeros(())


def naive_total(
    name: str, kind: str, divisor: float | None, rows: list[tuple[torch.Tensor, int, torch.Tensor]]
) -> torch.Tensor:
    counted = [(loss, tokens) for loss, tokens, _ in rows if tokens]
    total = torch.stack([loss for loss, _, _ in rows]).sum()
    if kind == "token-mean":
        total = total / max(sum(tokens for _, tokens in counted), 1)
    elif kind == "seq-mean-token-mean":
        total = sum((loss / tokens for loss, tokens in counted), total * 0.0) / max(len(counted), 1)
    else:
        total = total / (divisor or max(len(counted), 1))
    correct = [(nll, tokens) for _, tokens, nll in rows if nll.requires_grad and tokens]
    if name == "terms" and correct:
        total = total + 0.1 * sum(nll for nll, _ in correct) / sum(tokens for _, tokens in correct)
    return total


FEW = "aspo_code,gspo,terms"
"""Objectives that look at whole responses, and one with every term."""
RUNS = [
    (1, "single", "float64", "4p,3u", ",".join(OBJECTIVES)),
    (2, "ddp", "float64", "2p", ",".join(OBJECTIVES)),
    (2, "fsdp2", "float32", "3u", FEW),
    (4, "ddp", "float32", "1p", FEW),
    (4, "fsdp2", "float64", "2u", FEW),
]
ALL_RUNS = [
    (world, strategy, dtype, "1u,1p,2u,2p,3u,3p,4u,4p", ",".join(OBJECTIVES))
    for world, strategy in ((1, "single"), (2, "ddp"), (2, "fsdp2"), (4, "ddp"), (4, "fsdp2"))
    for dtype in TOLERANCE
]


@pytest.mark.timeout(3600 if ALL else 300)
@pytest.mark.parametrize(("world", "strategy", "dtype", "layouts", "objectives"), ALL_RUNS if ALL else RUNS)
def test_gradient_is_that_of_the_formulas_in_every_layout(
    data: Path, tmp_path: Path, world: int, strategy: str, dtype: str, layouts: str, objectives: str
) -> None:
    found = run(data, tmp_path / "out.pt", world, strategy, dtype, layouts, objectives)
    assert set(found) == set(product(objectives.split(","), layouts.split(",")))
    reference = torch.load(data.parent / f"reference_{dtype}.pt", weights_only=True)
    for (objective, layout), gradients in found.items():
        assert len(gradients) == len(REDUCTIONS) * len(STEPS)
        for i, (ours, theirs) in enumerate(zip(gradients, reference[objective], strict=True)):
            where = f"{objective}, {layout}, {REDUCTIONS[i // len(STEPS)][0]}, step {i % len(STEPS)}"
            norm, gap = float(theirs.norm()), float((ours.double() - theirs).norm())
            assert (norm == 0) == (i % len(STEPS) == 2), where
            assert gap <= TOLERANCE[dtype] * norm, f"{where}: gradients differ by {gap}, their norm is {norm}"
