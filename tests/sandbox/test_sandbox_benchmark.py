import importlib
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("sandbox")


def test_sandbox_is_faster_than_a_process_per_program(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--programs", "16", "--rounds", "3"])
    header, *rows = [line for line in capsys.readouterr().out.splitlines() if "cannot" not in line and ":" not in line]
    assert header.split() == ["programs/s", "x", "python", "x", "bare", "CPU", "ms", "start", "s", "PSS", "MB"]
    cpu = {row[:17].strip(): float(row[17:].split()[3]) for row in rows}
    confined = cpu.keys() & {"namespaces", "landlock", "seccomp"}
    assert confined
    for name in confined:
        assert cpu[name] < cpu["python -I -S -c"]
        assert cpu[name] < 0.6 * cpu["python -c"]


def test_soak_is_right_and_leaves_nothing(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--soak", "100"])
    assert capsys.readouterr().out.split()[:2] == ["100", "programs,"]
