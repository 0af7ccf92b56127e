"""Launchers: their variables as Trainer settings, and two processes of `torchrun` as one training."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_rlvr.cli.launcher import launcher_overrides

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "3"}
FABRIC = {"LT_CLI_USED": "1", "LT_ACCELERATOR": "cpu", "LT_STRATEGY": "ddp", "LT_DEVICES": "2", "LT_NUM_NODES": "1"}


def test_no_launcher_changes_nothing():
    assert launcher_overrides({"PATH": "/bin", "OMP_NUM_THREADS": "1"}) == {}


def test_processes_that_lightning_starts_itself_are_not_a_launcher():
    started_by_lightning = {"MASTER_ADDR": "127.0.0.1", "NODE_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    assert launcher_overrides(started_by_lightning) == {}


def test_torchrun_fixes_devices_and_nodes():
    assert launcher_overrides(TORCHRUN) == {"devices": 8, "num_nodes": 2}


def test_torchrun_with_uneven_nodes_is_an_error():
    with pytest.raises(ValueError, match="WORLD_SIZE=15 is no multiple of LOCAL_WORLD_SIZE=8"):
        launcher_overrides(TORCHRUN | {"WORLD_SIZE": "15"})


def test_fabric_run_passes_its_flags():
    torchrun = TORCHRUN | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    expected = {"accelerator": "cpu", "strategy": "ddp", "devices": 2, "num_nodes": 1, "precision": "bf16-mixed"}
    assert launcher_overrides(torchrun | FABRIC | {"LT_PRECISION": "bf16-mixed"}) == expected


def test_fabric_run_keeps_a_choice_of_devices():
    torchrun = TORCHRUN | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    assert launcher_overrides(torchrun | FABRIC | {"LT_DEVICES": "2,3"})["devices"] == "2,3"
    assert launcher_overrides(torchrun | FABRIC | {"LT_DEVICES": "auto"})["devices"] == 2


def test_variables_of_fabric_alone_are_not_trusted():
    assert launcher_overrides({"LT_DEVICES": "4"}) == {}


def test_overrides_win_over_files_and_flags(lit_rlvr, monkeypatch):
    monkeypatch.setenv("LT_CLI_USED", "1")
    monkeypatch.setenv("LT_PRECISION", "64-true")
    outcome = lit_rlvr("tiny", "fit", "-c", "base.yaml", "--trainer.precision=32-true")
    assert outcome.code == 0, outcome.err
    assert sys.modules["tiny_verb"].last[0].trainer.precision == "64-true"


def test_two_processes_of_torchrun_train_together(lit_rlvr, tmp_path):
    (tmp_path / "train.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import tiny_verb\n"
        "tiny_verb.run(['fit', '-c', 'base.yaml'])\n"
        "trainer = tiny_verb.last[0].trainer\n"
        "open(f'rank_{trainer.global_rank}_of_{trainer.world_size}', 'w').close()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("rank_*")} == {"rank_0_of_2", "rank_1_of_2"}
