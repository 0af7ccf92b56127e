"""VLLMEngine through whole runs: DDP, FSDP2, one engine of two ranks, one that was built too early, and collecting ahead."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_cases import make_engine, make_policy

SCRIPT = Path(__file__).parent / "engine_run.py"


def run(model: Path, out: Path, case: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(model), str(out), case]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


@pytest.mark.parametrize("case", ["ddp", "fsdp2", "ddp-shared"])
def test_engines_follow_the_policy_on_every_rank(tiny_tied: Path, tiny_untied: Path, tmp_path: Path, case: str) -> None:
    result = run(tiny_untied if case == "fsdp2" else tiny_tied, tmp_path, case)
    assert result.returncode == 0, result.stderr[-4000:]
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["steps"] == 12
        assert found["versions"] == [0, 4, 8]
        assert len(found["gaps"]) == 3
        assert max(found["gaps"]) < 1e-4
        assert found["group_size"] == 2, "closing the engine has destroyed the trainer's process group"


def test_an_engine_built_before_the_process_group_is_refused(tiny_tied: Path, tmp_path: Path) -> None:
    result = run(tiny_tied, tmp_path, "early")
    assert result.returncode != 0
    assert "the Trainer has 2 processes, but torch's process group of this one has 1" in result.stderr
    assert not list(tmp_path.iterdir())


def test_rollouts_are_collected_while_the_policy_is_trained(tiny_tied: Path, tmp_path: Path) -> None:
    result = run(tiny_tied, tmp_path, "ahead")
    assert result.returncode == 0, result.stderr[-4000:]
    found = json.loads((tmp_path / "0.json").read_text())
    assert found["steps"] == 12
    assert found["staleness"][0] == 0
    assert 0 < max(found["staleness"]) <= 8
    assert found["gaps"][0] < 1e-4
    assert found["group_size"] == 0, "closing the engine has left its process group behind"


def test_the_engine_knows_of_other_processes(tiny_tied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="before the process group of 2 processes"):
        make_engine().update_weights(make_policy(tiny_tied), 0)
