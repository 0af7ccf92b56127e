"""The loop on real problems: GSM8K as JSON lines and as Parquet, by supervised and by reinforcement learning."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lit_rlvr.tasks.tiny_model import TinyModelConfig, make_model

ROWS = 16
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


@pytest.fixture
def problems(real_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """The first problems of GSM8K that fit a small context."""
    rows = [json.loads(line) for line in real_data("gsm8k_train_2k.jsonl").read_text(encoding="utf-8").splitlines()]
    short = [row for row in rows if len(row["question"].encode()) < 200 and len(row["answer"].encode()) < 250][:ROWS]
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in short), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can read and write any text."""
    path = tmp_path_factory.mktemp("bytes") / "model"
    sizes = TinyModelConfig(hidden_size=32, num_layers=2, num_heads=2, head_dim=16, mlp_size=64, max_positions=512)
    make_model(str(path), sizes, byte_level=True)
    return path


def rl(file: Path, policy: Path) -> dict[str, Any]:
    """Two iterations, paid for the right number, and a little for writing plainly: that varies before anything is learned."""
    fields = {"answer_pattern": r"#### (.+)", "strip_commas": True, "template": "{question}\nPut the answer in \\boxed{}."}
    return {
        "trainer": {**QUIET, "max_epochs": 2},
        "model": {
            "init_args": {
                "policy": {"path": str(policy)},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
            }
        },
        "data": {
            "init_args": {
                "format": {"tokenizer": str(policy)},
                "train": {"class_path": "lit_rlvr.data.PromptFile", "init_args": {"path": str(file), "fields": fields}},
                "rewards": {
                    "answer": {"class_path": "lit_rlvr.rewards.MathReward"},
                    "digits": {"class_path": "reward_cases.EnoughDigits"},
                },
                "reward_weights": {"digits": 0.1},
                "sampling": {"max_tokens": 24},
                "iteration": {"num_prompts": 4, "group_size": 4},
            }
        },
    }


def trained_rows(run: Any) -> list[dict[str, Any]]:
    files = sorted((run.log_dir() / "rollouts").glob("iteration_*.jsonl"))
    assert len(files) == 2
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def assert_changed(run: Any, start: Path) -> None:
    before = load_file(start / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in run.weights().values())
    assert any(not torch.equal(weight, before[name]) for name, weight in run.weights().items())


def test_rl_on_gsm8k_as_json_lines_and_as_parquet(lit_rlvr: Callable, problems: Path, byte_model: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [json.loads(line) for line in problems.read_text(encoding="utf-8").splitlines()]
    table = problems.with_suffix(".parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    from_json, from_parquet = (lit_rlvr("rl", "fit", rl(file, byte_model)) for file in (problems, table))

    seen = trained_rows(from_json)
    assert len(seen) == 2 * 4 * 4
    golds = {row["question"]: row["answer"].rpartition("#### ")[2].replace(",", "") for row in rows}
    assert len({row["prompt_id"] for row in seen}) == 8
    for row in seen:
        question = row["messages"][-1]["content"].removesuffix("\nPut the answer in \\boxed{}.")
        assert row["answer"] == golds[question]
        assert row["source"] == "gsm8k"
        assert row["verdicts"]["answer"]["score"] == 0  # nobody guesses a boxed number from random bytes
    assert all(norm > 0 and math.isfinite(norm) for norm in from_json.history("train/grad_norm"))
    assert_changed(from_json, byte_model)
    assert trained_rows(from_parquet) == seen
    assert all(torch.equal(weight, from_json.weights()[name]) for name, weight in from_parquet.weights().items())


def test_sft_on_gsm8k(lit_rlvr: Callable, problems: Path, byte_model: Path) -> None:
    source = {"class_path": "lit_rlvr.data.ConversationFile", "init_args": {"path": str(problems)}}
    settings = {
        "trainer": {**QUIET, "max_epochs": 6, "accumulate_grad_batches": 2},
        "model": {
            "init_args": {
                "policy": {"path": str(byte_model)},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 5e-3}},
            }
        },
        "data": {
            "init_args": {
                "format": {"tokenizer": str(byte_model)},
                "train": source,
                "val": source,
                "batch_size": 8,
                "max_tokens": 512,
            }
        },
    }
    run = lit_rlvr("sft", "fit", settings)
    losses = run.history("val/loss")
    # A byte of 260 is worth 5.6 nats to a model that knows nothing; which bytes are frequent is learned at once.
    assert losses[0] < math.log(260)
    assert losses[-1] < losses[0] - 0.5
    assert_changed(run, byte_model)
    evaluated = lit_rlvr("sft", "validate", settings, f"--model.init_args.policy.path={run.folder / 'model'}")
    assert evaluated.history("val/loss") == pytest.approx(losses[-1:], abs=1e-5)
