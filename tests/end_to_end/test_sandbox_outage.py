"""A run whose sandbox dies in the middle says so, learns nothing from it, and goes on bit for bit once the sandbox is back."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_rlvr.data import RolloutDataModule
from lit_rlvr.rewards import RewardFunction
from lit_rlvr.sandbox import HTTPSandbox, Job, Limits
from lit_rlvr.types import Completion, Prompt, RolloutGroup, Verdict

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import flat_weights, make_data, make_module, make_trainer

SERVE = "import sys; from lit_rlvr.sandbox.server import serve; serve(sys.argv[1:])"


class CountedByAProgram(RewardFunction):
    """The share of digits, counted by a program in a sandbox on another machine."""

    def __init__(self, url: str) -> None:
        self.sandbox = HTTPSandbox([url], connect_timeout_s=1.0)

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        program = f"text = {completion.text!r}\nprint(sum(c.isdigit() for c in text) / max(len(text), 1))"
        (outcome,) = self.sandbox.run([Job(program)], Limits())
        if outcome.status == "infra":
            return Verdict(None, outcome.detail)
        assert outcome.status == "ok", outcome
        return Verdict(float(outcome.stdout))

    def close(self) -> None:
        self.sandbox.close()


class Server:
    """A sandbox server that a test may kill and start again at the same address."""

    def __init__(self) -> None:
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        command = [sys.executable, "-c", SERVE, f"--port={self.port}", "--num_workers=2"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        url = next(line.split()[-1] for line in self.process.stderr if line.startswith("serving programs on "))
        self.port = int(url.rsplit(":", 1)[1])
        return url

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LIT_RLVR_SANDBOX_TOKEN", secrets.token_urlsafe(32))
    server = Server()
    yield server
    server.kill()


def fit(model: Path, folder: Path, data: RolloutDataModule, ckpt_path: str | None = None) -> torch.Tensor:
    saver = ModelCheckpoint(folder, save_last=True, save_on_train_epoch_end=True)
    module = make_module(model)
    make_trainer(max_epochs=3, callbacks=[saver], enable_checkpointing=True, limit_val_batches=0).fit(
        module, data, ckpt_path=ckpt_path
    )
    return flat_weights(module)


def test_an_outage_stops_the_run_and_a_resume_undoes_it(tiny_model: Path, tmp_path: Path, server: Server) -> None:
    url = server.start()
    straight = fit(tiny_model, tmp_path / "straight", make_data(tiny_model, reward=CountedByAProgram(url)))

    def pull_the_plug(groups: list[RolloutGroup], iteration: int, stage: str) -> None:
        if iteration == 1:
            server.kill()

    data = make_data(tiny_model, reward=CountedByAProgram(url))
    data.rollout_observers.append(pull_the_plug)
    with pytest.raises(RuntimeError, match=r"24 of 24 completions could not be judged(.|\n)*'digits' on prompt"):
        fit(tiny_model, tmp_path / "cut", data)

    assert server.start() == url
    data = make_data(tiny_model, reward=CountedByAProgram(url))
    resumed = fit(tiny_model, tmp_path / "cut", data, ckpt_path=str(tmp_path / "cut" / "last.ckpt"))
    assert torch.equal(resumed, straight)
