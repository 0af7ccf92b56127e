"""A user's mistakes: exit code 2, and a short message with the key, its place and the nearest existing name."""

import pytest

MISTAKES = {
    "unknown key of the module": (
        "model: {init_args: {kl_coeff: 1}}",
        "unknown key 'model.init_args.kl_coeff' (bad.yaml, line 1). Did you mean kl_coef?",
    ),
    "unknown key of a dataclass": (
        "model:\n  init_args:\n    policy: {pth: x}",
        "unknown key 'model.init_args.policy.pth' (bad.yaml, line 3). Did you mean path?",
    ),
    "unknown key of the objective": (
        "model: {init_args: {objective: {class_path: GPPO, init_args: {beta_1: 3}}}}",
        "unknown key 'model.init_args.objective.init_args.beta_1' (bad.yaml, line 1). Did you mean beta1?",
    ),
    "unknown key in a dictionary of classes": (
        "data:\n  init_args:\n    rewards:\n      exact:\n        class_path: ExactAnswer\n        init_args: {wieght: 1}",
        "unknown key 'data.init_args.rewards.exact.init_args.wieght' (bad.yaml, line 6). Did you mean weight?",
    ),
    "unknown key in a list of classes": (
        "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n    init_args: {monitor: x, patiense: 2}",
        "unknown key 'trainer.callbacks[0].init_args.patiense' (bad.yaml, line 4). Did you mean patience?",
    ),
    "unknown key of the optimizer": (
        "model: {init_args: {optimizer: {class_path: AdamW, init_args: {wight_decay: 1}}}}",
        "unknown key 'model.init_args.optimizer.init_args.wight_decay' (bad.yaml, line 1). Did you mean weight_decay?",
    ),
    "unknown key of the Trainer": (
        "trainer: {max_epoch: 1}",
        "unknown key 'trainer.max_epoch' (bad.yaml, line 1). Did you mean max_epochs",
    ),
    "unknown section": ("modle: {init_args: {kl_coef: 1}}", "unknown key 'modle' (bad.yaml, line 1). Did you mean model?"),
    "unknown class by short name": (
        "model:\n  init_args:\n    objective: GPRO",
        "unknown class 'GPRO' for 'model.init_args.objective' (bad.yaml, line 3). Did you mean GRPO",
    ),
    "unknown class of a callback": (
        "trainer: {callbacks: [{class_path: ModelChekpoint}]}",
        "unknown class 'ModelChekpoint' for 'trainer.callbacks[0].class_path' (bad.yaml, line 1). Did you mean ModelCheckpoint",
    ),
    "unknown class by path": (
        "model: {init_args: {objective: {class_path: lit_rlvr.objectives.CIPSO}}}",
        "unknown class 'lit_rlvr.objectives.CIPSO' for 'model.init_args.objective.class_path' (bad.yaml, line 1). Did you mean ",
    ),
    "unknown module": (
        "model: {init_args: {objective: no_such_package.rules.Mine}}",
        "cannot import 'no_such_package.rules.Mine' for 'model.init_args.objective' (bad.yaml, line 1)",
    ),
    "settings of an interface": (
        "model: {init_args: {objective: PolicyObjective}}",
        "'model.init_args.objective' (bad.yaml, line 1) needs a class before its settings: "
        "PolicyObjective is only the interface. Known: ASPO,",
    ),
    "setting beside init_args": (
        "model:\n  kl_coef: 1.0\n  init_args: {policy: {path: x}}",
        "misplaced key 'model.kl_coef' (bad.yaml, line 2): beside `class_path`, settings stand below `init_args`.",
    ),
    "wrong type": (
        "model: {init_args: {kl_coef: small}}",
        "'model.init_args.kl_coef' (bad.yaml, line 1): expected float, got 'small'",
    ),
    "wrong type of a union": (
        "trainer: {max_epochs: many}",
        "'trainer.max_epochs' (bad.yaml, line 1): expected int, got 'many'",
    ),
    "no choice on offer": (
        "trainer: {precision: bf16-mixd}",
        "'trainer.precision' (bad.yaml, line 1): expected int or one of 'transformer-engine',",
    ),
    "not YAML": ("model: [\n", "bad.yaml, line 2: not valid YAML"),
    "a key twice": (
        "trainer:\n  max_epochs: 1\n  max_epochs: 2",
        "'trainer.max_epochs' is given twice: bad.yaml, line 2 and bad.yaml, line 3. Keep one.",
    ),
    "interpolation of nothing": (
        "model: {init_args: {kl_coef: '${trainer.max_epoch}'}}",
        "'model.init_args.kl_coef' (bad.yaml, line 1) refers to '${trainer.max_epoch}', which does not exist. Did you mean max_epochs?",
    ),
    "interpolation by an unknown resolver": (
        "model: {init_args: {kl_coef: '${env:HOME}'}}",
        "'model.init_args.kl_coef' (bad.yaml, line 1): Unsupported interpolation type env",
    ),
    "value refused by the constructor": ("model: {init_args: {policy: {width: 0}}}", "policy.width must be at least 1, got 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_a_file(lit_rlvr, tmp_path, mistake):
    text, message = MISTAKES[mistake]
    (tmp_path / "bad.yaml").write_text(text)
    outcome = lit_rlvr("tiny", "fit", "-c", "base.yaml", "-c", "bad.yaml")
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) <= 2
    assert "Traceback" not in outcome.err


FLAGS = {
    "--trainer.max_epoch=3": "unknown flag --trainer.max_epoch. Did you mean --trainer.max_epochs",
    "--modle.kl_coef=3": "unknown flag --modle.kl_coef. Did you mean --model?",
    "--model.policy.widht=3": "unknown flag --model.policy.widht. Did you mean --model.policy.width?",
    "--model.kl_coeff=3": "unknown key 'model.kl_coeff' (the flag --model.kl_coeff). Did you mean kl_coef?",
    "--model.objective=GPRO": "unknown class 'GPRO' for 'model.objective' (the flag --model.objective). Did you mean GRPO",
    "--model.objective.clip_hi=3": "unknown key 'model.objective.clip_hi' (the flag --model.objective.clip_hi). Did you mean clip_high",
    "--model.kl_coef=small": "'model.kl_coef' (the flag --model.kl_coef): expected float, got 'small'",
    "--model.kl_coef=${trainer.max_epoch}": "refers to '${trainer.max_epoch}', which does not exist. Did you mean max_epochs?",
}


@pytest.mark.parametrize("flag", FLAGS)
def test_mistake_in_a_flag(lit_rlvr, flag):
    outcome = lit_rlvr("tiny", "fit", "-c", "base.yaml", flag)
    assert outcome.code == 2
    assert FLAGS[flag] in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_missing_file(lit_rlvr):
    outcome = lit_rlvr("tiny", "fit", "-c", "no_such.yaml")
    assert (outcome.code, outcome.err.startswith("error: configuration file not found: ")) == (2, True)
    assert "no_such.yaml" in outcome.err


def test_missing_setting(lit_rlvr):
    outcome = lit_rlvr("tiny", "fit")
    assert outcome.code == 2
    assert outcome.err == "error: missing, but required: model.policy.path. Give it in a configuration file or as a flag.\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("tinny",), "unknown verb 'tinny'. Did you mean tiny?"),
        (("tiny",), "expected one of fit, validate, test first"),
        (("tiny", "fitt"), "expected one of fit, validate, test, got 'fitt'"),
    ],
)
def test_mistake_in_the_verb(lit_rlvr, args, message):
    outcome = lit_rlvr(*args)
    assert outcome.code == 2
    assert message in outcome.err


def test_traceback_on_demand(lit_rlvr, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_RLVR_DEBUG", "1")
    with pytest.raises(ValueError, match="width must be at least 1"):
        lit_rlvr("tiny", "fit", "-c", "base.yaml", "--model.policy.width=0")
