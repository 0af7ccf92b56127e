import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lit_rlvr.data import iteration
from lit_rlvr.tasks import TinyModelConfig, make_model

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture
def rl_step_memory(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("rl_step_memory")


@pytest.fixture
def objective_cost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("objective_cost")


@pytest.fixture
def math_verifier(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("math_verifier")


@pytest.fixture
def async_rollouts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("async_rollouts")


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("stopwatch")


def test_memory_of_an_rl_step_does_not_grow_with_vocabulary_times_tokens(rl_step_memory, capsys) -> None:
    rl_step_memory.main(["--vocabulary", "32768", "--tokens", "256", "512", "--chunk-size", "64", "--device", "cpu"])
    _, short, long = (line.split() for line in capsys.readouterr().out.strip().splitlines())
    full_short, ours_short, full_long, ours_long = map(float, [*short[3:5], *long[3:5]])
    logits_mib = 32768 * 256 * 4 / 2**20
    assert full_long - full_short > 2 * logits_mib
    assert ours_long - ours_short < 0.2 * logits_mib
    assert ours_long < 1.2 * ours_short
    assert full_long > 3 * ours_long


def test_both_ways_to_take_an_rl_step_agree(rl_step_memory) -> None:
    batch = rl_step_memory.rollouts(2, 24, 50, "cpu")
    losses, gradients = [], []
    for method in rl_step_memory.METHODS:
        module = rl_step_memory.build_module(method, 50, 8, "cpu")
        loss = module.training_step(batch, 0)["loss"]
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in module.policy.parameters()]))
    assert losses[0] != 0
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_cost_of_the_objective_is_the_sum_of_its_parts(objective_cost, tmp_path, capsys) -> None:
    make_model(str(tmp_path / "model"), TinyModelConfig(hidden_size=16, num_layers=1))
    threads = torch.get_num_threads()
    sizes = ["--prompts", "4", "--group-size", "2", "--max-tokens", "8", "--rounds", "1", "--threads", str(threads)]
    stamp_weights = iteration.stamp_weights
    objective_cost.main(["--model", str(tmp_path / "model"), "--keep-all-groups", *sizes])
    assert iteration.stamp_weights is stamp_weights
    header, *tables, ratios = capsys.readouterr().out.strip().split("\n\n")
    assert "4 prompts x 2" in header
    assert [table.split(":")[0] for table in tables] == list(objective_cost.OBJECTIVES)
    for table in tables:
        rows = {row[:41].strip(): row[41:].split() for row in table.splitlines()[2:]}
        milliseconds = {name: float(row[-3]) for name, row in rows.items()}
        complete, reported = milliseconds.pop("the same with logging"), milliseconds.pop("OBJECTIVE, REDUCTION, METRICS")
        assert all(value > 0 for value in milliseconds.values())
        assert complete == pytest.approx(sum(milliseconds.values()), abs=0.1)
        logging = sum(value for name, value in milliseconds.items() if name.startswith("logging"))
        assert reported == pytest.approx(complete - logging, abs=0.1)
        calls = {name: int(row[0]) for name, row in rows.items() if len(row) == 5}
        assert [calls[name] for name in ("loss weights: stamping", "objective: forward", "ledger")] == [2, 4, 4 + 2]
    assert [line[:40].strip() for line in ratios.splitlines()[2:]] == list(objective_cost.OBJECTIVES)
    assert "inf" not in ratios
    assert "nan" not in ratios


def test_stopwatch_charges_a_part_within_a_part_to_itself_only(stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 3.0, 5.0, 9.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(ticks))
    watch = stopwatch.Stopwatch()
    inner = watch.timed("inner", lambda: None)
    watch.timed("outer", inner)()
    assert dict(watch.seconds) == {"outer": 3.0 + 4.0, "inner": 2.0}
    assert dict(watch.calls) == {"outer": 1, "inner": 1}


def test_graders_of_mathematics_are_counted_by_right_and_wrong(math_verifier, tmp_path, capsys) -> None:
    pairs = [
        {"gold": "7", "pred": r"so \boxed{7.0}", "equal": True},
        {"gold": r"\frac{1}{2}", "pred": "0.5", "equal": True},
        {"gold": "7", "pred": r"\boxed{7}", "equal": False},
        {"gold": "7", "pred": r"\boxed{8}", "equal": True},
        {"gold": "7", "pred": r"\boxed{9}", "equal": True},
    ]
    (tmp_path / "few.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    math_verifier.main([str(tmp_path / "few.jsonl"), "--generated", "4", "--rounds", "1"])
    _, *lines = capsys.readouterr().out.splitlines()
    rows = [(line[:24].strip(), line[25:51].strip(), *map(float, line[51:].split())) for line in lines]
    assert [row[0] for row in rows] == [
        name for name in ("few.jsonl", "integers", "fractions", "polynomials") for _ in range(3)
    ]
    assert [row[1] for row in rows] == list(math_verifier.GRADERS) * 4
    assert [row[2:-1] for row in rows] == [(5, 2, 1, 2, 0)] * 3 + [(4, 4, 0, 0, 0)] * 9
    assert all(row[-1] > 0 for row in rows)


def test_rollouts_during_training_are_compared_with_rollouts_before_it(async_rollouts, capsys) -> None:
    sizes = [
        "--rounds",
        "1",
        "--iterations",
        "3",
        "--prompts",
        "4",
        "--group-size",
        "2",
        "--max-tokens",
        "8",
        "--hidden-size",
        "32",
    ]
    async_rollouts.main([*sizes, "--latency", "0.4"])
    header, _, plain, ahead, ratio, best = capsys.readouterr().out.strip().splitlines()
    assert "simulated, a latency of 0.4 s" in header
    for row in (plain, ahead):
        _, _, collection = map(float, row[14:].split())
        assert collection >= 0.4  # a call cannot be shorter than its latency
    assert float(ratio.split(":")[1].split()[0]) > 0
    assert float(best.split(":")[1]) > 1
