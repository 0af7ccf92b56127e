"""The books of an optimizer step: right ones pass, and every way to get the denominator wrong stops the run with both numbers."""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lit_rlvr.callbacks import LedgerLog
from lit_rlvr.data import RolloutDataModule
from lit_rlvr.data.collate import collate_sft
from lit_rlvr.modules.ledger import NormalizationError, NormalizationLedger
from lit_rlvr.types import RolloutBatch, SFTBatch

sys.path.insert(0, str(Path(__file__).parent.parent / "end_to_end"))
from rl_run import make_data, make_module, make_trainer

Spoil = Callable[[list[RolloutBatch]], list[RolloutBatch]]


def test_the_loss_is_numerator_over_denominator() -> None:
    step = collate_sft([(1, 2), (1,)], [(3, 4, 5), (6,)])
    ledger = NormalizationLedger()
    for row, loss in ((0, 0.25), (1, 0.5)):
        ledger.add(step.rows(torch.tensor([row])), torch.tensor(loss))
    entry = ledger.close(7, lambda sums: sums)
    assert (entry.step, entry.denominator, entry.tokens, entry.sequences) == (7, 4.0, 4, 2)
    assert entry.numerator / entry.denominator == pytest.approx(0.75)


def close(*micro_batches: SFTBatch) -> None:
    ledger = NormalizationLedger()
    for micro_batch in micro_batches:
        ledger.add(micro_batch, torch.tensor(0.0))
    ledger.close(3, lambda sums: sums)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda first, second: (first,), "tokens .* is 3, but the step was made for 4"),
        (lambda first, second: (first, second, second), "tokens .* is 5, but the step was made for 4"),
        (
            lambda first, second: (first, replace(second, loss_weights=2 * second.loss_weights)),
            r"sum of loss weights .* is 1\.25, but the step was made for 1",
        ),
        (
            lambda first, second: (first, replace(second, loss_weights=second.loss_weights * 1.0001)),
            r"sum of loss weights .* is 1\.00002\d+, but",
        ),
    ],
    ids=["lost", "doubled", "scaled", "scaled a little"],
)
def test_a_wrong_denominator_stops_with_both_numbers(spoil: Callable[..., tuple[SFTBatch, ...]], message: str) -> None:
    step = collate_sft([(1, 2), (1,)], [(3, 4, 5), (6,)])
    first, second = (step.rows(torch.tensor([row])) for row in (0, 1))
    close(first, second)
    with pytest.raises(NormalizationError, match=f"optimizer step 3: {message}"):
        close(*spoil(first, second))


class SpoiledRollouts(RolloutDataModule):
    """Real rollouts whose micro-batches are tampered with on their way to the module."""

    spoil: Spoil

    def _train_batches(self) -> Iterator[RolloutBatch]:
        yield from self.spoil(list(super()._train_batches()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batches: [batches[0], *batches[:-1]], "tokens over all ranks"),
        (lambda batches: [batches[0], *batches[2:], batches[1]], "tokens over all ranks"),
        (
            lambda batches: [replace(b, loss_weights=b.loss_weights / 2) for b in batches],
            r"sum of loss weights over all ranks and micro-batches is 0\.(5|4999)\d*, but the step was made for 1\.",
        ),
    ],
    ids=["repeated", "steps mixed", "halved"],
)
def test_a_run_with_wrong_weights_stops(tiny_model: Path, spoil: Spoil, message: str) -> None:
    data = make_data(tiny_model, kind=SpoiledRollouts)
    data.spoil = spoil
    with pytest.raises(NormalizationError, match=message):
        make_trainer(max_epochs=1, accumulate_grad_batches=2).fit(make_module(tiny_model), data)


def test_the_books_of_a_run_are_on_disk(tiny_model: Path, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs", version="")
    trainer = make_trainer(max_epochs=2, accumulate_grad_batches=3, logger=logger, callbacks=[LedgerLog()])
    trainer.fit(make_module(tiny_model), make_data(tiny_model))
    with open(tmp_path / "logs" / "ledger.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(8))
    assert all(row["tokens"] == re.sub(r"\.0$", "", row["denominator"]) for row in rows), "token-mean divides by tokens"
    assert all(row["sequences"] == "12" for row in rows)
    losses = [float(row["numerator"]) / float(row["denominator"]) for row in rows[4:]]
    penalties = (
        float(trainer.callback_metrics["train/kl_penalty"]) * 0.01
        + float(trainer.callback_metrics["train/positive_nll"]) * 0.01
    )
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(sum(losses) / 4 + penalties, abs=1e-5)
