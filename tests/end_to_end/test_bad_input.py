"""What goes wrong outside the code: a clear message or a defined behaviour, and nothing that was there is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

ROW = '{"question": "1+2=", "answer": "3"}\n'


def data(**settings: Any) -> dict[str, Any]:
    return {"data": {"init_args": settings}}


def prompt_file(path: Path | str) -> dict[str, Any]:
    return data(train={"class_path": "lit_rlvr.data.PromptFile", "init_args": {"path": str(path)}})


FILES = {
    "malformed row": (ROW * 2 + '{"question": "4+5=", "answer": 9\n' + ROW, "bad.jsonl:3: malformed JSON"),
    "no object": (ROW + "[1, 2]\n", "bad.jsonl:2: a row must be a JSON object, found list"),
    "no answer": (ROW + '{"question": "4+5=", "anwser": "9"}\n', "bad.jsonl:2: no column 'answer' (did you mean 'anwser'?)"),
    "empty file": ("", "bad.jsonl holds no rows"),
    "blank line": (ROW + "\n" + ROW, "bad.jsonl:2: blank line between rows"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_prompt_file(failure, small_rl, tmp_path, case):
    content, message = FILES[case]
    (tmp_path / "bad.jsonl").write_text(content)
    assert message in failure("rl", "fit", small_rl, prompt_file(tmp_path / "bad.jsonl"))


def test_missing_prompt_file(failure, small_rl, tmp_path):
    message = failure("rl", "fit", small_rl, prompt_file(tmp_path / "no_such.jsonl"))
    assert "no_such.jsonl' matches no file" in message


def test_console_script_fails_loudly(small_rl, tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(small_rl))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(prompt_file("no_such.jsonl")))
    command = [Path(sys.executable).parent / "lit-rlvr", "rl", "fit", "-c", "base.yaml", "-c", "train.yaml"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode in (1, 2)
    assert "'no_such.jsonl' matches no file" in done.stderr[-2000:]


def test_missing_model_and_tokenizer(failure, small_rl, tmp_path):
    model = failure("rl", "fit", small_rl, f"--model.init_args.policy.path={tmp_path}/nothing")
    assert "nothing': policy.path must be a Hugging Face model name or a folder" in model
    assert "no tokenizer at" in failure("rl", "fit", small_rl, f"--data.init_args.format.tokenizer={tmp_path}")


MISTAKES = {
    "--model.init_args.objective=lit_rlvr.objectives.GPRO": "unknown class 'lit_rlvr.objectives.GPRO' for",
    "--data.init_args.engine=VllmEngin": "unknown class 'VllmEngin' for 'data.init_args.engine'",
    "--data.init_args.sampling.temperature=0": "data.sampling.temperature is 0: greedy completions",
    "--data.init_args.iteration.group_size=0": "data.iteration.group_size must be at least 1, got 0",
    "--data.init_args.iteration.num_mini_batches=7": "num_mini_batches=7 is more than num_prompts=6",
    "--data.init_args.accuracy=digit": "unknown reward functions ['digit']; the rubric has ['digits']",
}


@pytest.mark.parametrize("flag", MISTAKES)
def test_impossible_setting(failure, small_rl, tmp_path, flag):
    assert MISTAKES[flag] in failure("rl", "fit", small_rl, flag)
    assert not (tmp_path / "failed").exists()  # refused before anything was written


@pytest.mark.parametrize(
    "settings",
    [{"reduction": "constant"}, {"reduction": "token-mean", "divisor": 100.0}],
    ids=["constant without divisor", "divisor without use"],
)
def test_reduction_and_divisor_that_do_not_fit(failure, small_rl, settings):
    assert "divisor" in failure("rl", "fit", small_rl, data(iteration=settings))


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_precision_that_would_round_the_batches(failure, small_rl, precision):
    message = failure("rl", "fit", small_rl, f"--trainer.precision={precision}")
    assert f"trainer.precision={precision} converts the batches too" in message
    assert "model.policy.dtype: bfloat16" in message


def test_long_prompts_stop_the_run_or_are_counted(failure, lit_rlvr, small_rl):
    few = "--data.init_args.format.max_prompt_tokens=10"
    message = failure("rl", "fit", small_rl, few)
    assert "prompts are longer than max_prompt_tokens=10 tokens; the longest is '" in message
    with pytest.warns(UserWarning, match=r"of 24 prompts are longer than max_prompt_tokens=10 .* They are left out"):
        run = lit_rlvr("rl", "fit", small_rl, few, "--data.init_args.format.drop_long_prompts=true")
    assert len(run.history("train/loss")) == 2


def test_prompt_and_completion_beyond_the_model(failure, small_rl):
    message = failure("rl", "fit", small_rl, "--data.init_args.sampling.max_tokens=250")
    assert "with max_tokens=250 that exceeds the model's max_position_embeddings=256: lower max_tokens" in message


def test_tokenizer_without_chat_template(failure, small_rl, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    message = failure("rl", "fit", small_rl, f"--data.init_args.format.tokenizer={tmp_path / 'plain'}")
    assert "plain' has no chat template: put a `chat_template.jinja` into its folder" in message


def test_evaluation_without_problems(failure, small_rl):
    assert "data.val is not set: there are no problems to validate on" in failure("rl", "validate", small_rl)
    assert "data.test is not set: there are no problems to test on" in failure("rl", "test", small_rl)


def test_fewer_problems_than_an_iteration_needs(lit_rlvr, small_rl):
    """Problems are drawn again within an iteration, and their completions are new ones."""
    run = lit_rlvr("rl", "fit", small_rl, "--data.init_args.train.init_args.num=3")
    rows = [json.loads(line) for line in (run.log_dir() / "rollouts/iteration_000000.jsonl").read_text().splitlines()]
    assert len({row["prompt_id"] for row in rows}) == 3
    assert len({(row["prompt_id"], row["text"], row["logprobs"]["sum"]) for row in rows}) == 6 * 6


def unchanged(run: Any, start: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, start[name]) for name, weight in run.weights().items())


def test_group_of_one_has_nothing_to_compare_with(lit_rlvr, small_rl, start_weights):
    """Its advantage is 0: the steps are taken, with a gradient of exactly 0."""
    run = lit_rlvr("rl", "fit", small_rl, "--data.init_args.iteration.group_size=1")
    assert run.history("train/loss") == run.history("train/grad_norm") == [0, 0]
    assert run.history("train/skipped_steps") == [0, 0]
    assert unchanged(run, start_weights)


def test_completions_without_an_answer_are_wrong(lit_rlvr, small_rl):
    run = lit_rlvr("rl", "fit", small_rl, data(rewards={"answer": {"class_path": "lit_rlvr.rewards.ExactAnswer"}}))
    assert run.history("rollout/reward") == run.history("rollout/errors") == [0, 0]
    rows = [json.loads(line) for line in (run.log_dir() / "rollouts/iteration_000000.jsonl").read_text().splitlines()]
    assert {row["reward"] for row in rows} == {0}
    assert all(row["verdicts"]["answer"]["detail"] for row in rows)


def test_iteration_without_a_group_changes_nothing(lit_rlvr, small_rl, start_weights):
    """Not even by weight decay, a KL term or Adam's momentum."""
    settings = {
        "model": {
            "init_args": {
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"weight_decay": 0.5}},
                "terms": [{"class_path": "lit_rlvr.modules.KLPenalty"}, {"class_path": "lit_rlvr.modules.PositiveNLL"}],
            }
        }
    }
    none = data(filters=[{"class_path": "lit_rlvr.rollout.filters.MeanAccuracyFilter", "init_args": {"min_accuracy": 1.0}}])
    with pytest.warns(UserWarning, match="none of the 6 groups of this iteration can be trained on"):
        run = lit_rlvr("rl", "fit", small_rl, settings, none, "--trainer.max_epochs=3")
    assert run.history("train/skipped_steps") == [1, 1, 1]
    assert run.history("rollout/groups_kept") == [0, 0, 0]
    assert len(set(run.history("rollout/reward"))) == 3  # new prompts each time: the run went on
    assert unchanged(run, start_weights)


def test_few_unjudged_completions_are_left_out(lit_rlvr, small_rl):
    unjudged = {"class_path": "reward_cases.Unjudged", "init_args": {"digits": "012"}}
    run = lit_rlvr("rl", "fit", small_rl, data(rewards={"odd": unjudged}, max_error_rate=0.9))
    rows = [json.loads(line) for line in (run.log_dir() / "rollouts/iteration_000000.jsonl").read_text().splitlines()]
    failed = [row for row in rows if row["reward"] is None]
    assert 0 < len(failed) < len(rows)
    assert all(row["advantage"] == 0 and row["verdicts"]["odd"]["score"] is None for row in failed)
    assert run.history("rollout/errors")[0] == pytest.approx(len(failed) / len(rows))


def test_too_many_errors_stop_the_run_and_it_can_go_on(failure, lit_rlvr, small_rl, tmp_path):
    """The verifier fails in the third iteration: the checkpoints of the first two are there, and a mended run continues."""
    keep = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "dirpath": str(tmp_path / "kept"),
            "filename": "{epoch}",
            "save_top_k": -1,
            "save_on_train_epoch_end": True,
        },
    }
    every = {"trainer": {"max_epochs": 3, "enable_checkpointing": True, "callbacks": [keep]}}

    def rewards(after: int) -> dict[str, Any]:
        return data(rewards={"odd": {"class_path": "reward_cases.Unjudged", "init_args": {"after": after}}})

    message = failure("rl", "fit", small_rl, every, rewards(2 * 36))
    assert "36 of 36 completions could not be judged, more than max_error_rate=0.1 allows" in message
    assert "'odd' on prompt '" in message
    assert "the verifier is out of order" in message
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["epoch=0.ckpt", "epoch=1.ckpt"]
    mended = lit_rlvr("rl", "fit", small_rl, every, rewards(10**9), f"--ckpt_path={tmp_path / 'kept' / 'epoch=1.ckpt'}")
    straight = lit_rlvr("rl", "fit", small_rl, every, rewards(10**9))
    assert set(mended.history("epoch")) == {2}
    assert all(torch.equal(weight, straight.weights()[name]) for name, weight in mended.weights().items())


def test_bug_in_a_reward_function_is_named(failure, small_rl):
    message = failure("rl", "fit", small_rl, data(rewards={"mine": {"class_path": "reward_cases.Broken"}}))
    assert message.startswith("KeyError: ")
    assert "raised by the reward function 'mine' on prompt '" in message
