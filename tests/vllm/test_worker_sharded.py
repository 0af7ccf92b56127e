"""The proof of weights that are shared out over two workers, with the real vLLM."""

import subprocess
import sys
from pathlib import Path


def test_parts_on_two_workers_are_proven_together(tiny_tied: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = str(Path(__file__).parent / "sharded_sync.py")
    result = subprocess.run([*command, script, str(tiny_tied)], capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr[-3000:]
    fault = "update 1 did not bring the policy's weights into the engine: wrong are 1 of them"
    for rank in (0, 1):
        assert f"rank {rank} found: {fault}" in result.stdout, result.stdout + result.stderr[-3000:]
    named = "model.layers.1.mlp.down_proj.weight: it arrived, but the engine multiplies with something else"
    assert result.stdout.count(named) == 2
