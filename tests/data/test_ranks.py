"""What ranks share and gather; real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from lit_rlvr.data.ranks import Ranks

WORKER = Path(__file__).parent / "ranks_worker.py"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The lines that each of two ranks printed."""
    command = [sys.executable, str(WORKER)]
    store = str(tmp_path_factory.mktemp("ranks") / "store")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    running = [subprocess.Popen([*command, str(rank), store], **pipes) for rank in range(2)]
    outputs = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    return [out.splitlines() for out, _ in outputs]


def test_every_rank_has_all_items_in_order(said: list[list[str]]) -> None:
    assert [lines[2] for lines in said] == ["['a!', 'b!', 'c!', 'd!', 'e!']"] * 2


def test_a_thread_with_a_group_of_its_own_talks_beside_the_first(said: list[list[str]]) -> None:
    assert [lines[0] for lines in said] == [str([[f"0 {i} of the first", f"1 {i} of the first"] for i in range(20)])] * 2
    assert [lines[1] for lines in said] == [str([[f"0 {i}", f"1 {i}"] for i in range(40)])] * 2


def test_where_one_rank_fails_none_waits_for_it(said: list[list[str]]) -> None:
    others, own = said
    assert own[3:] == ["ZeroDivisionError: a bug on rank 1"]
    assert others[3:5] == ["RuntimeError: rank 1 could not do its share:", "Traceback (most recent call last):"]
    assert "ZeroDivisionError: a bug on rank 1" in others


def test_one_process_needs_no_group() -> None:
    ranks = Ranks()
    ranks.check_process_group()
    assert ranks.on_own_group() is ranks
    assert ranks.gather_from(lambda: ranks.share("abc")) == ["a", "b", "c"]


def test_a_process_group_that_is_not_the_trainers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the Trainer has 2 processes, but torch's process group of this one has 1"):
        Ranks(0, 2).check_process_group()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with pytest.raises(RuntimeError, match=r"has 1: .*before the Trainer could.*destroy_process_group"):
            Ranks(1, 2).check_process_group()
        Ranks().check_process_group()
    finally:
        dist.destroy_process_group()
