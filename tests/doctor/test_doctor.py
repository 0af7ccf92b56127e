"""What the doctor says of a sound configuration, and of some with one planted fault."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoTokenizer

from lit_rlvr.cli.doctor import DoctorCLI
from lit_rlvr.doctor import CHECKS
from lit_rlvr.tasks.tiny_model import TinyModelConfig, make_model

Doctor = Callable[..., Any]
ALL = [check.name for check in CHECKS]


def test_a_sound_configuration_is_green_and_leaves_no_trace(doctor: Doctor, config: dict[str, Any], tmp_path: Path) -> None:
    visit = doctor(config)
    assert visit.code == 0, visit.out + visit.err
    assert visit.states == dict.fromkeys(ALL, "green")
    assert "\x1b" not in visit.out
    assert [path.name for path in tmp_path.rglob("*")] == ["run.yaml"]


def test_the_weights_are_restored_to_the_bit(
    config: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(yaml.safe_dump(config))
    cli = DoctorCLI(["-c", "run.yaml"])
    assert cli.exit_code == 0
    before = load_file(tiny_model / "model.safetensors")
    after = dict(cli.model.policy.model.named_parameters())
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in after.values())


@pytest.mark.parametrize(
    ("engine", "line", "words"),
    [
        ("Deaf", "weights arrive", "still the old ones"),
        ("RemembersResults", "caches reset", "answered with results of the old ones"),
        ("KeepsPrefixes", "caches reset", "seen before a change of the weights"),
        ("OneSeed", "group members differ", "25% are distinct"),
        ("RawLogprobs", "log-prob gap", "those of softmax(logits), not of what it sampled from at temperature 0.7"),
        ("HonestlyRaw", "log-prob gap", "is_processed=False"),
        ("LosesStopTokens", "loss mask", "finish_reason is 'stop', the last token"),
    ],
)
def test_a_faulty_engine_is_told_by_one_line(
    doctor: Doctor, config: dict[str, Any], engine: str, line: str, words: str
) -> None:
    config["data"]["init_args"]["engine"] = {"class_path": f"planted_faults.{engine}"}
    config["data"]["init_args"]["sampling"]["temperature"] = 0.7
    visit = doctor(config)
    assert visit.code == 1
    assert visit.red == [line], visit.out + visit.err
    assert words in visit.words
    assert "mend: " in visit.out


def test_a_gap_is_not_told_of_truncated_sampling(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["sampling"]["top_p"] = 0.9
    visit = doctor(config)
    assert visit.code == 0
    assert [name for name, state in visit.states.items() if state == "yellow"] == ["log-prob gap"]


def test_a_verifier_that_hangs_in_threads(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["rewards"] = {"answer": {"class_path": "planted_faults.HangsInThreads"}}
    visit = doctor(config)
    assert visit.code == 1
    assert visit.red == ["verifiers"]
    assert "answer, right text, in another thread: no verdict within" in visit.words
    assert "in the main thread: no verdict" not in visit.words
    assert visit.states["group members differ"] == "yellow"


def test_a_verifier_that_pays_wrong_answers(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["rewards"] = {"answer": {"class_path": "planted_faults.PaysEverybody"}}
    visit = doctor(config)
    assert visit.red == ["verifiers"]
    assert "counts as right" in visit.words


def test_a_verifier_of_which_nothing_is_known(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["rewards"] = {"answer": {"class_path": "planted_faults.Unexamined"}}
    visit = doctor(config)
    assert visit.code == 0
    assert [name for name, state in visit.states.items() if state == "yellow"] == ["verifiers"]


def test_a_setting_that_is_never_read(doctor: Doctor, config: dict[str, Any]) -> None:
    reward = {"class_path": "planted_faults.UnusedBonus", "init_args": {"bonus_for_brevity": 0.5, "require_stop": False}}
    config["data"]["init_args"]["rewards"] = {"answer": reward}
    visit = doctor(config)
    assert visit.red == ["settings"]
    assert "bonus_for_brevity (run.yaml, line " in visit.words
    assert "planted_faults.UnusedBonus" in visit.words
    assert "require_stop" not in visit.words


def test_an_unknown_setting(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["sampling"]["temprature"] = 0.7
    visit = doctor(config)
    assert visit.code == 2
    assert "temprature" in visit.err
    assert "Did you mean temperature?" in visit.err


@pytest.mark.parametrize(("allowed", "code", "line"), [(0.05, 2, "setup"), (1.0, 1, "verifiers")])
def test_a_column_without_answers(
    doctor: Doctor, config: dict[str, Any], tmp_path: Path, allowed: float, code: int, line: str
) -> None:
    rows = [{"question": f"{n}+{n}=", "answer": str(2 * n), "gold": "{"} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"class_path": "lit_rlvr.data.PromptFile", "init_args": {"path": "rows.jsonl", "fields": {"answer": "gold"}}}
    config["data"]["init_args"]["train"] = source
    config["data"]["init_args"]["rewards"]["answer"]["init_args"] = {"max_bad_golds": allowed}
    visit = doctor(config)
    assert visit.code == code
    assert visit.red == [line]


def test_a_tokenizer_of_another_model(doctor: Doctor, config: dict[str, Any], tmp_path: Path) -> None:
    make_model(str(tmp_path / "other"), TinyModelConfig(num_layers=1, alphabet="0123456789+=}abcdefghijklmnopqrstuvwxyz"))
    config["data"]["init_args"]["format"]["tokenizer"] = str(tmp_path / "other")
    visit = doctor(config)
    assert visit.code == 1
    assert visit.red == ["vocabulary"]
    assert visit.states["weights arrive"] == "yellow"


def test_completions_beyond_the_models_positions(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["sampling"]["max_tokens"] = 250
    visit = doctor(config)
    assert visit.code == 1
    assert visit.red == ["lengths"]
    assert "data.sampling.max_tokens to at most 24" in visit.words


def test_what_raises_is_a_line_with_its_place(doctor: Doctor, config: dict[str, Any]) -> None:
    config["data"]["init_args"]["engine"] = {"class_path": "planted_faults.Breaks"}
    visit = doctor(config)
    assert visit.code == 1
    assert "weights arrive" in visit.red
    assert visit.states["verifiers"] == "green"
    assert "KeyError: 'slot 3'" in visit.words
    assert "planted_faults.py:" in visit.words


@pytest.fixture
def altered_model(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with another chat template."""

    def copy(template: Callable[[str], str]) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(tiny_model, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template(tokenizer.chat_template)
        tokenizer.save_pretrained(folder)
        return folder

    return copy


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (lambda text: text.replace("add_generation_prompt", "false"), "ignores add_generation_prompt"),
        (lambda text: text.replace("<|end|>", "<|system|>"), "ends with '<|system|>', which is no stop token ('<|end|>')"),
        (lambda text: "abc" + text, "have tokens that the tokenizer does not know"),
    ],
)
def test_a_chat_template_that_does_not_fit(
    doctor: Doctor, config: dict[str, Any], altered_model: Callable[..., Path], template: Callable[[str], str], words: str
) -> None:
    config["data"]["init_args"]["format"]["tokenizer"] = str(altered_model(template))
    visit = doctor(config)
    assert visit.red == ["chat template"]
    assert words in visit.words


def test_a_micro_batch_that_does_not_fit(doctor: Doctor, config: dict[str, Any]) -> None:
    config["trainer"]["accumulate_grad_batches"] = 1
    config["data"]["init_args"]["iteration"] = {"num_prompts": 1_000_000, "group_size": 64}
    visit = doctor(config)
    assert visit.red == ["memory"]
    assert "64000000 rows of 26 tokens (estimated)" in visit.words
    assert "accumulate_grad_batches" in visit.words


def test_sharded_over_two_processes(doctor: Doctor, config: dict[str, Any], tmp_path: Path) -> None:
    strategy = {"data_parallel_size": 2, "tensor_parallel_size": 1}
    config["trainer"] |= {
        "devices": 2,
        "strategy": {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy", "init_args": strategy},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "lit_rlvr.cli", "doctor", "-c", "run.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 ranks, ModelParallelStrategy" in " ".join(result.stdout.split())
    assert f"{len(ALL)} green in" in result.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["run.yaml"]
