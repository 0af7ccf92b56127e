"""Files and flags: their order, interpolation, and that a printed configuration is one."""

from pathlib import Path


def test_later_file_wins_over_earlier_and_flag_over_both(resolve, tmp_path):
    (tmp_path / "more.yaml").write_text("trainer: {max_epochs: 5, max_steps: 9}")
    config = resolve("-c", "base.yaml", "-c", "more.yaml", "--trainer.max_epochs=7")
    assert (config["trainer"]["max_epochs"], config["trainer"]["max_steps"]) == (7, 9)
    assert resolve("-c", "more.yaml", "--config=base.yaml")["trainer"]["max_epochs"] == 1


def test_flag_wins_even_before_the_file(resolve):
    assert resolve("--trainer.max_epochs=7", "-c", "base.yaml")["trainer"]["max_epochs"] == 7


def test_base_classes_are_the_defaults(resolve):
    config = resolve("-c", "base.yaml")
    assert config["model"]["class_path"] == "tiny_verb.TinyModule"
    assert config["data"] == {"class_path": "tiny_verb.TinyData", "init_args": {"num_rows": 3, "rewards": None}}


def test_trainer_defaults_of_the_package(resolve):
    trainer = resolve("-c", "base.yaml")["trainer"]
    assert trainer["use_distributed_sampler"] is False
    assert (trainer["num_sanity_val_steps"], trainer["log_every_n_steps"]) == (0, 1)
    assert trainer["default_root_dir"] == "runs/tiny"


def test_no_stray_optimizer_section(resolve):
    assert set(resolve("-c", "base.yaml")) == {"seed_everything", "trainer", "model", "data", "ckpt_path", "weights_only"}


def test_interpolation_follows_later_files_and_flags(resolve, tmp_path):
    (tmp_path / "linked.yaml").write_text("data: {init_args: {num_rows: '${trainer.max_epochs}'}}")
    (tmp_path / "more.yaml").write_text("trainer: {max_epochs: 5}")
    files = ("-c", "base.yaml", "-c", "linked.yaml")
    assert resolve(*files)["data"]["init_args"]["num_rows"] == 1
    assert resolve(*files, "-c", "more.yaml")["data"]["init_args"]["num_rows"] == 5
    assert resolve(*files, "-c", "more.yaml", "--trainer.max_epochs=7")["data"]["init_args"]["num_rows"] == 7


def test_interpolation_of_a_default_that_no_file_gives(resolve, tmp_path):
    (tmp_path / "linked.yaml").write_text("model: {init_args: {kl_coef: '${trainer.accumulate_grad_batches}'}}")
    assert resolve("-c", "base.yaml", "-c", "linked.yaml")["model"]["init_args"]["kl_coef"] == 1.0


def test_interpolation_in_a_flag(resolve):
    config = resolve("-c", "base.yaml", "--model.objective=CISPO", "--model.objective.clip_high=${trainer.max_epochs}")
    assert config["model"]["init_args"]["objective"]["init_args"]["clip_high"] == 1.0


def test_printed_configuration_can_be_loaded_again(resolve, lit_rlvr, tmp_path):
    (tmp_path / "more.yaml").write_text(
        "model: {init_args: {objective: GPPO, optimizer: {class_path: AdamW, init_args: {lr: 1e-5}}}}\n"
        "data: {init_args: {rewards: {exact: {class_path: ExactAnswer, init_args: {weight: 2}}}}}\n"
    )
    printed = lit_rlvr("tiny", "fit", "-c", "base.yaml", "-c", "more.yaml", "--print_config")
    (tmp_path / "printed.yaml").write_text(printed.out)
    assert printed.config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 1e-5
    assert resolve("-c", "printed.yaml") == printed.config


def test_objective_from_a_file_in_the_working_directory(resolve, lit_rlvr, tmp_path: Path):
    (tmp_path / "own_rules").mkdir()
    (tmp_path / "own_rules" / "reinforce.py").write_text(
        "from dataclasses import dataclass\n"
        "from lit_rlvr.objectives import PolicyObjective\n"
        "@dataclass(frozen=True)\n"
        "class Reinforce(PolicyObjective):\n"
        "    scale: float = 1.0\n"
        "    def __call__(self, x):\n"
        "        return -self.scale * x.advantages * x.logprobs, {}\n"
    )
    one_line = resolve("-c", "base.yaml", "--model.objective=own_rules.reinforce.Reinforce")
    assert one_line["model"]["init_args"]["objective"] == {
        "class_path": "own_rules.reinforce.Reinforce",
        "init_args": {"scale": 1.0},
    }
    (tmp_path / "own.yaml").write_text("model: {init_args: {objective: own_rules.reinforce.Reinforce}}")
    assert resolve("-c", "base.yaml", "-c", "own.yaml") == one_line
    run = lit_rlvr("tiny", "fit", "-c", "base.yaml", "-c", "own.yaml", "--model.objective.scale=3")
    assert run.code == 0, run.err
