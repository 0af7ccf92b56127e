"""After a run with the default settings: what lies in its folder, and that it can be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from lit_rlvr.modules import PolicyConfig
from lit_rlvr.modules.policy import Policy

COLUMNS = {
    *("epoch", "step", "reward/digits", "rollout/reward", "rollout/accuracy", "rollout/length", "rollout/truncated"),
    *("rollout/errors", "rollout/solved_by_all", "rollout/solved_by_none", "rollout/groups_generated", "rollout/groups_kept"),
    *("rollout/rounds", "train/loss", "train/grad_norm", "train/skipped_steps", "train/learning_rate", "train/entropy"),
    *("train/ratio", "train/ratio_max", "train/response_ratio", "train/kl_old_k1", "train/kl_old_k3", "train/kl_rollout_k3"),
    *("train/rollout_gap", "train/rollout_gap_max", "train/rollout_gap_exp", "train/zero_gradient_share"),
    *("rollout/repetition", "rollout/pass_rate", "rollout/pass_rate_0", "rollout/groups_filtered"),
    *("train/clip_fraction_low", "train/clip_fraction_high", "time/rollout", "time/train", "time/validation", "time/iteration"),
    *("val/avg@8", "val/avg@8_low", "val/avg@8_high", "val/pass@8", "val/greedy", "val/length", "val/truncated", "val/errors"),
}
GROUPS, MEMBERS = 6, 6


@pytest.fixture(scope="module")
def settings(small_rl: dict[str, Any]) -> dict[str, Any]:
    """Nothing switched off but the bar; held-out problems, evaluated in every iteration."""
    held_out = {"class_path": "lit_rlvr.tasks.AdditionPrompts", "init_args": {"split": "validation", "num": 10}}
    tested = {"class_path": "lit_rlvr.tasks.AdditionPrompts", "init_args": {"split": "test", "num": 10}}
    rewards = {"digits": {"class_path": "reward_cases.EnoughDigits", "init_args": {"share": 0.3}}}
    return {
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "gradient_clip_val": 1.0, "enable_progress_bar": False},
        "model": small_rl["model"],
        "data": {"init_args": small_rl["data"]["init_args"] | {"rewards": rewards, "val": held_out, "test": tested}},
    }


@pytest.fixture(scope="module")
def run(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, command_line: Callable) -> Any:
    return command_line(tmp_path_factory.mktemp("leaves"))("rl", "fit", settings)


@pytest.fixture(scope="module")
def checkpoint(run: Any) -> Path:
    (found,) = run.folder.rglob("*.ckpt")
    return found


def test_metrics_as_csv_and_for_tensorboard(run: Any) -> None:
    assert run.columns() >= COLUMNS
    assert len(run.history("rollout/reward")) == len(run.history("val/avg@8")) == 2
    assert [file.stat().st_size > 1000 for file in run.folder.glob("tensorboard/version_0/events.out.tfevents.*")] == [True]


def test_every_rollout_as_json(run: Any) -> None:
    files = sorted(file.name for file in (run.log_dir() / "rollouts").iterdir())
    assert [name for name in files if name.startswith("iteration")] == ["iteration_000000.jsonl", "iteration_000001.jsonl"]
    assert any(name.startswith("validation") for name in files)
    rows = [json.loads(line) for line in (run.log_dir() / "rollouts/iteration_000001.jsonl").read_text().splitlines()]
    assert len(rows) == GROUPS * MEMBERS
    for row in rows:
        assert row["messages"][-1]["content"] in (f"{row['prompt_id']}=", "{1}+{0}=".format(*row["prompt_id"].split("+")))
        assert row["verdicts"]["digits"]["score"] == row["reward"]
        assert row["logprobs"]["sum"] == pytest.approx(row["logprobs"]["mean"] * row["num_tokens"])
        assert row["logprobs"]["min"] <= row["logprobs"]["mean"] < 0
        assert row["weight_version"] == 2  # one iteration of two optimizer steps before it
    assert sum(row["advantage"] for row in rows) == pytest.approx(0, abs=1e-4)
    assert run.history("rollout/reward")[1] == pytest.approx(sum(row["reward"] for row in rows) / len(rows), abs=1e-5)


def test_record_of_configuration_and_environment(run: Any, lit_rlvr: Callable, tmp_path: Path) -> None:
    config = yaml.safe_load((run.log_dir() / "config.yaml").read_text())
    assert config["data"]["init_args"]["iteration"]["ppo_epochs"] == 1  # a default
    assert config["model"]["init_args"]["objective"]["class_path"] == "lit_rlvr.objectives.GRPO"
    environment = json.loads((run.log_dir() / "environment.json").read_text())
    assert environment["command"].startswith("lit-rlvr rl fit -c ")
    assert environment["packages"]["torch"] == torch.__version__
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    again = lit_rlvr("rl", "fit", run.log_dir() / "config.yaml", root=tmp_path / "again")
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before, "the first run must stay as it was"
    assert again.history("train/loss") == run.history("train/loss")
    assert all(torch.equal(weight, again.weights()[name]) for name, weight in run.weights().items())


def logprobs(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        scores = model(input_ids=tokens).logits[:, :-1].log_softmax(-1)
    return scores.gather(-1, tokens[:, 1:, None])[..., 0]


def test_exported_models_are_the_trained_policy(
    run: Any, checkpoint: Path, tiny_model: Path, tmp_path: Path, start_weights: dict
) -> None:
    from lit_rlvr.cli import main

    assert main(["export", str(checkpoint), str(tmp_path / "exported")]) == 0
    trained = Policy(PolicyConfig(str(tiny_model)))
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    trained.load_state_dict({name.removeprefix("policy."): w for name, w in state.items() if name.startswith("policy.")})
    tokens = torch.randint(30, (4, 20), generator=torch.Generator().manual_seed(0))
    scored = torch.ones_like(tokens, dtype=torch.bool)
    scored[:, 0] = False
    with torch.no_grad():
        expected = trained(tokens, torch.ones_like(scored), scored).logprobs[:, 1:]
    for folder in (run.folder / "model", tmp_path / "exported"):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        torch.testing.assert_close(logprobs(model, tokens), expected, atol=1e-5, rtol=0)
        assert AutoTokenizer.from_pretrained(folder).chat_template
    untrained = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    assert (logprobs(untrained, tokens) - expected).abs().max() > 1e-3


@pytest.mark.parametrize(("subcommand", "prefix"), [("validate", "val"), ("test", "test")])
def test_evaluation_repeats_exactly(run: Any, settings: dict, lit_rlvr: Callable, subcommand: str, prefix: str) -> None:
    policy = f"--model.init_args.policy.path={run.folder / 'model'}"
    names = [f"{prefix}/{name}" for name in ("avg@8", "avg@8_low", "avg@8_high", "pass@8", "greedy", "length")]
    first, second = (lit_rlvr("rl", subcommand, settings, policy) for _ in range(2))
    values = [first.history(name) for name in names]
    assert values == [second.history(name) for name in names]
    assert 0 < values[0][0] < 1
    if subcommand == "validate":  # the evaluation within the training had these weights, seeds and problems
        assert values == [run.history(name)[-1:] for name in names]


def test_evaluation_of_the_checkpoint_is_that_of_the_export(
    run: Any, checkpoint: Path, settings: dict, lit_rlvr: Callable
) -> None:
    from_checkpoint = lit_rlvr("rl", "validate", settings, f"--ckpt_path={checkpoint}")
    assert from_checkpoint.history("val/avg@8") == run.history("val/avg@8")[-1:]


def test_resuming_counts_on(run: Any, checkpoint: Path, settings: dict, lit_rlvr: Callable) -> None:
    longer = {"trainer": {"max_epochs": 3}}
    straight = lit_rlvr("rl", "fit", settings, longer)
    resumed = lit_rlvr("rl", "fit", settings, longer, f"--ckpt_path={checkpoint}")
    assert set(resumed.history("epoch")) == {2.0}
    files = sorted(file.name for file in (resumed.log_dir() / "rollouts").glob("iteration*"))
    assert files == ["iteration_000002.jsonl"]
    rollouts = "rollouts/iteration_000002.jsonl"
    assert (resumed.log_dir() / rollouts).read_text() == (straight.log_dir() / rollouts).read_text()
    assert all(torch.equal(weight, straight.weights()[name]) for name, weight in resumed.weights().items())
