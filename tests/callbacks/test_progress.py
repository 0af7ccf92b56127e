"""The progress bar and the phase timer in real, tiny trainings."""

import csv
import doctest
import re
import time

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from lit_rlvr.callbacks import progress_display
from lit_rlvr.callbacks.phase_timer import PhaseTimer
from lit_rlvr.callbacks.progress import RolloutProgressBar
from lit_rlvr.callbacks.progress_display import Progress
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.types import Completion, Prompt, Rollout, RolloutGroup


class Line(LightningModule):
    """One weight; logs what a policy would log."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        loss = (self.weight - batch.mean()) ** 2
        self.log("train/loss", loss)
        self.log("rollout/reward", float(self.current_epoch), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/avg@8", 0.25)
        self.log("val/avg@8_low", 0.1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class LazyLoader:
    """Collects in its first `next`, like a rollout loader."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 4

    def __iter__(self):
        self.data.collect()
        for _ in range(4):
            yield torch.ones(2)


class ScriptedEngine(RolloutEngine):
    """Reports three steps of progress and generates nothing."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.after_report = lambda: None

    def update_weights(self, policy, version):
        self.weight_version = version

    def generate(self, prompts, params, seeds, stop_token_ids):
        for done in range(1, 4):
            time.sleep(self.seconds / 3)
            if self.on_progress is not None:
                self.on_progress(done, 3)
            self.after_report()
        return []


class Rollouts(LightningDataModule):
    def __init__(self, seconds=0.0):
        super().__init__()
        self.rollout_observers = []
        self.engine = ScriptedEngine(seconds)
        prompt = Prompt("p", ({"role": "user", "content": "?"},))
        completion = Completion(tuple(range(50)), (-1.0,) * 50, "stop")
        self.groups = [RolloutGroup(prompt, (Rollout(prompt, completion, 1.0, True),) * 2)]

    def collect(self):
        self.engine.generate([], SamplingParams(), [], [])
        for observer in self.rollout_observers:
            observer(self.groups, 0, "train")

    def train_dataloader(self):
        return LazyLoader(self)

    def val_dataloader(self):
        return torch.utils.data.DataLoader([0.0, 1.0, 2.0])


def trainer(*callbacks, **options):
    options = {"logger": False, "max_epochs": 3, "log_every_n_steps": 1} | options
    return Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def test_doctests():
    results = doctest.testmod(progress_display)
    assert results.attempted > 0
    assert results.failed == 0


class Phases(Callback):
    """Records what the bar shows after every hook of interest."""

    def __init__(self, bar):
        self.bar, self.seen = bar, []

    def look(self):
        activity = f"{self.bar.progress.position()}: {self.bar.progress.activity()}"
        if activity not in self.seen[-1:]:
            self.seen.append(activity)

    def on_train_epoch_start(self, *args):
        self.look()

    def on_train_batch_end(self, *args):
        self.look()

    def on_validation_batch_end(self, *args):
        self.look()


def test_phases_of_an_iteration():
    bar = RolloutProgressBar()
    phases = Phases(bar)
    data = Rollouts()
    data.engine.after_report = phases.look
    trainer(bar, phases, max_epochs=2, accumulate_grad_batches=2).fit(Line(), data)
    assert phases.seen[:10] == [
        "iteration 1/2: collecting rollouts",
        "iteration 1/2: collecting rollouts 1/3",
        "iteration 1/2: collecting rollouts 2/3",
        "iteration 1/2: collecting rollouts 3/3",
        "iteration 1/2: optimizer step 0/2",
        "iteration 1/2: optimizer step 1/2",
        "iteration 2/2: optimizer step 2/2",
        "iteration 2/2: validating 1/3",
        "iteration 2/2: validating 2/3",
        "iteration 2/2: validating 3/3",
    ]
    assert bar.progress.done == bar.progress.total == 2


def test_lines_without_a_terminal(capsys):
    bar = RolloutProgressBar(seconds_per_line=1e6)
    trainer(bar).fit(Line(), Rollouts())
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b" not in "".join(lines)
    # Twelve steps cross nine tenths; with the first line and the last one, and none for the other updates.
    assert 6 <= len(lines) <= 13
    assert lines[0].startswith("iteration 1/3 | ")
    assert "collecting rollouts" in lines[0] or "starting" in lines[0]
    assert re.fullmatch(
        r"iteration 3/3 \| finished \| reward 2  loss [\d.e-]+  val/avg@8 0.25 \| 0:00:0\d, 0:00:00 left", lines[-1]
    )


def test_lines_come_with_time_too(capsys):
    trainer(RolloutProgressBar(seconds_per_line=0.0), max_epochs=1).fit(Line(), Rollouts())
    assert "collecting rollouts 2/3" in capsys.readouterr().out


def test_supervised_training_counts_steps(capsys):
    loader = torch.utils.data.DataLoader(torch.ones(10, 1))
    bar = RolloutProgressBar()
    trainer(bar, max_epochs=-1, max_steps=7).fit(Line(), loader)
    assert (bar.progress.done, bar.progress.total) == (7, 7)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("step 7/7 | finished | ")
    assert "loss " in last


def test_validation_alone(capsys):
    trainer(RolloutProgressBar()).validate(Line(), datamodule=Rollouts(), verbose=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("validating 3/3 | ")


def test_terminal_shows_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    trainer(RolloutProgressBar()).fit(Line(), Rollouts())
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert re.search(r"iteration 3/3 ━+ 100%", shown)
    assert "finished  reward 2" in shown


def test_an_exception_gives_the_terminal_back(capsys):
    class Breaks(Line):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("broken")

    bar = RolloutProgressBar()
    with pytest.raises(RuntimeError, match="broken"):
        trainer(bar).fit(Breaks(), Rollouts())
    assert bar._display is None


def test_disabled_it_is_silent(capsys):
    bar = RolloutProgressBar()
    bar.disable()
    trainer(bar).fit(Line(), Rollouts())
    bar.print("nothing")
    assert capsys.readouterr().out == ""


def test_remaining_time_counts_from_where_a_resumed_run_began():
    progress = Progress(unit="iteration", total=20.0)
    progress.begin(10.0)
    progress.started -= 30.0
    assert progress.remaining() is None
    progress.done = 13.0
    progress.mark()
    assert progress.remaining() == pytest.approx(70.0, abs=0.5)
    progress.done = 13.5
    assert progress.position() == "iteration 14/20"
    assert progress.share == pytest.approx(0.675)


def test_phase_timer_separates_rollout_training_and_validation(tmp_path):
    class Slow(Line):
        def training_step(self, batch, batch_idx):
            time.sleep(0.02)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            time.sleep(0.05)
            super().validation_step(batch, batch_idx)

    timer = PhaseTimer()
    logger = CSVLogger(tmp_path)
    trainer(timer, logger=logger, max_epochs=2, enable_progress_bar=False).fit(Slow(), Rollouts(seconds=0.3))
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row.get("time/rollout")]
    assert len(rows) == 2
    for row in rows:
        rollout, train, validation = (float(row[f"time/{phase}"]) for phase in ("rollout", "train", "validation"))
        total = float(row["time/iteration"])
        # Each phase sleeps for a known time, which must be in its own number and in no other: true on a busy machine too.
        assert 0.3 <= rollout <= total - 0.08 - 0.15
        assert 0.08 <= train <= total - 0.3 - 0.15
        assert 0.15 <= validation <= total - 0.3 - 0.08
        assert total == pytest.approx(rollout + train + validation, abs=1e-4)
        assert float(row["time/rollout_tokens_per_second"]) == pytest.approx(100 / rollout, rel=1e-3)
    assert timer.totals["rollout"] == pytest.approx(sum(float(row["time/rollout"]) for row in rows), abs=1e-3)
    restored = PhaseTimer()
    restored.load_state_dict(timer.state_dict())
    assert restored.totals == timer.totals


class Synced(Line):
    def training_step(self, batch, batch_idx):
        self.log("train/entropy", 1.0 + self.global_rank, on_step=False, on_epoch=True, sync_dist=True)
        return super().training_step(batch, batch_idx)


def test_metrics_are_not_computed_by_one_rank_alone(capfd):
    """Two processes, an epoch metric with a collective: a bar that read it on rank 0 only would never return."""
    bar = RolloutProgressBar(seconds_per_line=0.0)
    trainer(bar, PhaseTimer(), strategy="ddp_fork", devices=2, use_distributed_sampler=False).fit(Synced(), Rollouts())
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("iteration")]
    assert "entropy 1.5" in lines[-1]
    assert len([line for line in lines if "finished" in line]) == 1
