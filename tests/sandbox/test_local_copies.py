"""Copies, pickles and forks of a sandbox: the configuration travels, the processes do not."""

import copy
import multiprocessing
import pickle

import pytest

from lit_rlvr.sandbox import Job, Limits, LocalSandbox


def doubled(sandbox: LocalSandbox) -> list[tuple[str, bytes]]:
    outcomes = sandbox.run([Job("print(2 * int(input()))", b"%d" % n) for n in range(3)], Limits(wall_s=30.0))
    return [(outcome.status, outcome.stdout) for outcome in outcomes]


EXPECTED = [("ok", b"0\n"), ("ok", b"2\n"), ("ok", b"4\n")]
_INHERITED = LocalSandbox(num_workers=1)


def doubled_by_inherited() -> list[tuple[str, bytes]]:
    return doubled(_INHERITED)


def test_copies_carry_the_configuration_only() -> None:
    sandbox = LocalSandbox(num_workers=3, isolation="landlock", preload=[])
    for twin in (pickle.loads(pickle.dumps(sandbox)), copy.deepcopy(sandbox)):
        assert (twin.num_workers, twin.isolation, twin.preload) == (3, "landlock", [])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_works_in_processes_of_every_kind(strongest: LocalSandbox, method: str) -> None:
    assert doubled(strongest) == EXPECTED
    assert doubled_by_inherited() == EXPECTED
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        assert pool.apply_async(doubled, (strongest,)).get(60) == EXPECTED
        assert pool.apply_async(doubled_by_inherited, ()).get(60) == EXPECTED
    assert doubled(strongest) == EXPECTED
    assert doubled_by_inherited() == EXPECTED
    _INHERITED.close()
