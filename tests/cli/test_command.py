"""The command itself: in a process of its own, its help, and what Lightning must not do behind one's back."""

import subprocess
import sys
from pathlib import Path

import torch
import yaml

from lit_rlvr.cli.main import VERBS

COMMAND = Path(sys.executable).parent / "lit-rlvr"


def test_help_lists_the_verbs_without_importing_torch():
    code = "import sys; from lit_rlvr.cli import main; main(['--help']); assert not {'torch', 'lightning', 'jsonargparse'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout and verb.help in done.stdout for name, verb in VERBS.items())


def test_console_script_reports_a_mistake_with_exit_code_2():
    done = subprocess.run([COMMAND, "rll", "fit"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "unknown verb 'rll'. Did you mean rl?" in done.stderr


def test_fit_in_a_process_of_its_own(lit_rlvr, tmp_path):
    """Layers, a flag and a user's class from the working directory, which a console script does not see by itself."""
    (tmp_path / "verbs.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from lit_rlvr.cli.main import VERBS, Verb, main\n"
        "VERBS['tiny'] = Verb('', 'tiny_verb:run')\n"
        "sys.exit(main())\n"
    )
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "own_module.py").write_text(
        "from tiny_verb import TinyModule\n"
        "class Own(TinyModule):\n"
        "    def on_train_end(self):\n"
        "        print('trained', self.trainer.global_step, 'with', self.hparams.kl_coef)\n"
    )
    (tmp_path / "own.yaml").write_text("model: {class_path: own_module.Own, init_args: {policy: {path: x}, kl_coef: 0.5}}")
    arguments = ["tiny", "fit", "--trainer.max_epochs=2", "-c", "../base.yaml", "-c", "../own.yaml", "--data.num_rows=4"]
    done = subprocess.run(
        [sys.executable, "../verbs.py", *arguments], cwd=tmp_path / "away", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "trained 8 with 0.5" in done.stdout
    saved = yaml.safe_load((tmp_path / "away" / "runs" / "tiny" / "config.yaml").read_text())
    assert saved["model"]["class_path"] == "own_module.Own"
    assert saved["trainer"]["max_epochs"] == 2


def test_help_of_fit_is_short(lit_rlvr):
    outcome = lit_rlvr("tiny", "fit", "--help")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) < 250
    assert "--model.help" in outcome.out
    assert "``" not in outcome.out
    listed = lit_rlvr("tiny", "--help").out
    assert all(name in listed for name in ("fit", "validate", "test"))


def test_attribute_docstrings_are_the_help(lit_rlvr):
    help_of_gppo = lit_rlvr("tiny", "fit", "--model.objective.help", "GPPO").out
    assert "--objective.clip_low" in help_of_gppo
    assert "the lower bound of the" in " ".join(help_of_gppo.split())
    assert "Where the weights lie." in lit_rlvr("tiny", "fit", "--model.help").out


def test_checkpoint_does_not_override_files_and_flags(lit_rlvr, tmp_path):
    command_line = ("tiny", "fit", "-c", "base.yaml", "--model.kl_coef=1")
    outcome = lit_rlvr(*command_line, "--trainer.enable_checkpointing=true", "--trainer.default_root_dir=first")
    assert outcome.code == 0, outcome.err
    checkpoint = next((tmp_path / "first").rglob("*.ckpt"))
    assert torch.load(checkpoint, weights_only=True)["hyper_parameters"]["kl_coef"] == 1.0
    outcome = lit_rlvr("tiny", "validate", "-c", "base.yaml", "--model.kl_coef=99", f"--ckpt_path={checkpoint}")
    assert outcome.code == 0, outcome.err
    assert sys.modules["tiny_verb"].last[0].trainer.callback_metrics["kl_coef"] == 99.0


def test_make_model_writes_a_model(lit_rlvr, tmp_path):
    small = ["--model.hidden_size=8", "--model.num_layers=1", "--model.mlp_size=8", "--model.num_heads=1", "--model.head_dim=4"]
    outcome = lit_rlvr("make-model", "tiny", *small)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "tiny" / "model.safetensors").is_file()
    again = lit_rlvr("make-model", "tiny", *small)
    assert again.code == 2
    assert "already holds a model" in again.err
    assert "Did you mean --model.hidden_size" in lit_rlvr("make-model", "other", "--model.hiden_size=8").err
