"""`lit-rlvr objective show` through the real command line: every way to name an objective, what is written, what goes wrong."""

import csv
import runpy
import sys
from pathlib import Path

import matplotlib.image
import pytest

from lit_rlvr.cli.objective_argument import read_objective
from lit_rlvr.report.objective_card import measure

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Hit failing import")  # of modules that earlier tests forgot

CONFIGS = Path(__file__).parents[2] / "configs" / "objective"
EXAMPLES = Path(__file__).parents[2] / "examples"

OWN = """
from dataclasses import dataclass
from lit_rlvr.objectives import PolicyObjective

@dataclass(frozen=True)
class Halved(PolicyObjective):
    '''Half of REINFORCE.'''
    factor: float = 0.5
    def __call__(self, x):
        return -self.factor * x.advantages * x.logprobs, {}
"""
SECOND = "\n@dataclass(frozen=True)\nclass Tripled(Halved):\n    factor: float = 3.0\n"


@pytest.fixture(autouse=True)
def forget_modules():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("own", "away", "objective_file_")):
            del sys.modules[name]


def weights(path, ratio, advantage):
    with Path(path).open() as file:
        rows = list(csv.DictReader(file))
    return {
        r["objective"]: float(r["weight"]) for r in rows if float(r["ratio"]) == ratio and float(r["advantage"]) == advantage
    }


def test_show_writes_figures_and_numbers_and_prints_where(lit_rlvr, tmp_path):
    outcome = lit_rlvr("objective", "show", "gppo")
    assert outcome.code == 0, outcome.err
    names = ("GPPO_weight.png", "GPPO_weight.csv", "GPPO_push.png", "GPPO_push.csv")
    assert outcome.out.splitlines()[-4:] == [f"runs/objective_cards/{name}" for name in names]
    assert all((tmp_path / "runs" / "objective_cards" / name).is_file() for name in names)
    assert matplotlib.image.imread(tmp_path / "runs" / "objective_cards" / names[0]).shape[1] > 1000
    assert "GPPO  (lit_rlvr.objectives.gppo.GPPO)\nGradient-preserving clipping" in outcome.out
    assert "  beta1: 1\n" in outcome.out
    assert "dual_clip: null" in outcome.out
    row = next(line for line in outcome.out.splitlines() if line.startswith("│  0.1 "))
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["0.1", "0.1", "0.8"]


def test_compare_puts_all_on_the_same_axes(lit_rlvr, tmp_path):
    (tmp_path / "own_objectives.py").write_text(OWN)
    args = ("GRPO", "--compare", "lit_rlvr.objectives.ASPO", "own_objectives.py", "--compare", "GPPO(beta1=0.5, dual_clip=10)")
    outcome = lit_rlvr("objective", "show", *args, "--out", "deep/cards")
    assert outcome.code == 0, outcome.err
    (path,) = (tmp_path / "deep" / "cards").glob("*_weight.csv")
    assert path.name == "GRPO_vs_ASPO_vs_Halved_vs_GPPO_beta1_0.5_dual_clip_10_weight.csv"
    halved, gppo = "Halved", "GPPO(beta1=0.5, dual_clip=10)"
    assert weights(path, 0.1, -1) == pytest.approx({"GRPO": 0, "ASPO": 0, halved: 0.5, gppo: 0.4})
    assert weights(path, 0.1, 1) == pytest.approx({"GRPO": 0.1, "ASPO": 3, halved: 0.5, gppo: 0.1})
    assert weights(path, 20, -1) == pytest.approx({"GRPO": 20, "ASPO": 3, halved: 0.5, gppo: 0})
    assert "Half of REINFORCE." in outcome.out


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_overlays_name_their_objective(file):
    named = read_objective(str(file))
    assert named.class_path in file.read_text().replace("lit_rlvr.objectives.", f"{named.class_path.rpartition('.')[0]}.")
    assert measure(named.label, named.objective).weights


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("own_objectives.py", "Halved"),
        ("own_objectives.py(factor=2)", "Halved(factor=2)"),
        ("own_objectives.Halved", "Halved"),
        ("own-rules.py:Halved", "Halved"),
        ("away/own_objectives.py:Halved", "Halved"),
        ("two.py:Tripled", "Tripled"),
        ("bare.yaml", "GPPO(beta1=0.5)"),
        ("bare.yaml(beta1=0.75, dual_clip=null)", "GPPO(beta1=0.75)"),
        ("linked.yaml", "GPPO(clip_low=0.3)"),
        ("short.yaml", "CISPO"),
        ("CISPO(clip_low=None)", "CISPO(clip_low=null)"),
        ("GRPO(clip_high=28e-2)", "GRPO(clip_high=0.28)"),
        ("ASPO(soft_negative_dual_clip=false)", "ASPO(soft_negative_dual_clip=false)"),
        (
            "ASPO(high_entropy={clip_low: 0.4, clip_high: 0.4, quantile: 0.8})",
            "ASPO(high_entropy={clip_low: 0.4, clip_high: 0.4, quantile: 0.8})",
        ),
    ],
)
def test_ways_to_name_an_objective(tmp_path, monkeypatch, name, label):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away").mkdir()
    for file in ("own_objectives.py", "own-rules.py", "away/own_objectives.py"):
        (tmp_path / file).write_text(OWN)
    (tmp_path / "two.py").write_text(OWN + SECOND)
    (tmp_path / "bare.yaml").write_text("class_path: GPPO\ninit_args: {beta1: 0.5}")
    linked = "model: {objective: {class_path: GPPO, init_args: {clip_low: '${data.bound}'}}}\ndata: {bound: 0.3}"
    (tmp_path / "linked.yaml").write_text(linked)
    (tmp_path / "short.yaml").write_text("model: {init_args: {objective: CISPO}}")
    monkeypatch.syspath_prepend(tmp_path)
    assert read_objective(name).label == label


def test_a_file_outside_the_working_directory_finds_its_neighbours(lit_rlvr, tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    (tmp_path / "own_base.py").write_text(OWN)
    (tmp_path / "own_far.py").write_text("from own_base import Halved\nclass Far(Halved):\n    '''Far.'''\n")
    monkeypatch.chdir(tmp_path / "inside")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    outcome = lit_rlvr("objective", "show", "../own_far.py")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Far  (own_far.Far)\nFar.\n")


MISTAKES = {
    "GPRO": "error: GPRO: unknown class 'GPRO' for 'objective'. Did you mean GRPO",
    "lit_rlvr.objectives.CIPSO": "unknown class 'lit_rlvr.objectives.CIPSO'",
    "no_such.rules.Mine": "cannot import 'no_such.rules.Mine'",
    "GPPO(beta_1=0.5)": "error: GPPO(beta_1=0.5): unknown key 'objective.beta_1'. Did you mean beta1?",
    "GPPO(beta1=large)": "'objective.beta1': expected float, got 'large'",
    "GPPO(beta1=-1)": "GPPO.beta1 must be 0 or positive, got -1.0",
    "GPPO(0.5)": "'GPPO(0.5)': settings are written as keywords: GPPO(beta1=0.5",
    "GPPO(beta1=0.5": "'GPPO(beta1=0.5' names no objective: write GPPO, GPPO(beta1=0.5)",
    "GPPO(beta1: 0.5)": "settings are written as keywords",
    "GPPO(beta1=__import__('os'))": "'objective.beta1': expected float",
    "torch.nn.Linear": "does not correspond to a subclass of PolicyObjective",
    "bad_key.yaml": "unknown key 'model.init_args.objective.init_args.beta_1' (bad_key.yaml, line 4). Did you mean beta1?",
    "no_objective.yaml": "no_objective.yaml names no objective: it needs model.init_args.objective, or class_path at the top",
    "misplaced.yaml": "misplaced.yaml: 'beta1' stands beside class_path; settings stand below init_args",
    "broken.yaml": "broken.yaml: ",
    "no_objectiv.yaml": "no file no_objectiv.yaml. Did you mean no_objective?",
    "no_such.py": "no file no_such.py",
    "two.py": "two.py has several: Halved, Tripled. Name one: two.py:Halved",
    "two.py:Halfed": "two.py has no PolicyObjective 'Halfed'. Did you mean Halved?",
    "empty.py": "empty.py has no PolicyObjective",
    "crash.py": "cannot import crash.py: ZeroDivisionError: division by zero",
    "raises.py": "Raises raised KeyError: 'beta' (",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_the_mend(lit_rlvr, tmp_path, name):
    files = {
        "bad_key.yaml": "model:\n  init_args:\n    objective:\n      {class_path: GPPO, init_args: {beta_1: 1}}",
        "no_objective.yaml": "model: {init_args: {kl_coef: 1}}",
        "misplaced.yaml": "class_path: GPPO\nbeta1: 1",
        "broken.yaml": "model: [",
        "two.py": OWN + SECOND,
        "empty.py": "x = 1",
        "crash.py": "1 / 0",
        "raises.py": OWN + "Halved.__call__ = None\ndel Halved\nclass Raises(PolicyObjective):\n"
        "    def __call__(self, x):\n        return {}['beta']\n",
    }
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    outcome = lit_rlvr("objective", "show", "GRPO", "--compare", name)
    assert outcome.code == 2
    assert MISTAKES[name] in outcome.err
    assert len(outcome.err.splitlines()) <= 2
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "runs" / "objective_cards").exists()


def test_the_same_twice_is_a_mistake(lit_rlvr):
    outcome = lit_rlvr("objective", "show", "GPPO", "--compare", "GPPO(beta1=1)")
    assert outcome.code == 2
    assert "GPPO is named twice" in outcome.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected show, check or lens first"),
        (("shwo",), "unknown 'shwo'. Did you mean show?"),
        (("show",), "missing, but required: objective"),
        (("show", "GPPO", "--compar", "GRPO"), "unknown flag --compar. Did you mean --compare?"),
    ],
)
def test_mistakes_of_the_call(lit_rlvr, args, message):
    outcome = lit_rlvr("objective", *args)
    assert outcome.code == 2
    assert message in outcome.err


def test_check_says_what_an_objective_breaks(lit_rlvr, tmp_path):
    assert lit_rlvr("objective", "check", str(EXAMPLES / "custom_objective.py")).out.endswith("SoftClip keeps the contract.\n")
    (tmp_path / "own.py").write_text(OWN)
    outcome = lit_rlvr("objective", "check", "own.py")
    assert outcome.code == 1
    assert "BROKEN: is_reinforce_on_policy" in outcome.out
    assert "Halved breaks the contract: is_reinforce_on_policy" in outcome.err
    assert "stays_finite" in outcome.err
    halved = ("--scale_of_positives", "0.5", "--scale_of_negatives", "0.5")
    assert "is_reinforce_on_policy" not in lit_rlvr("objective", "check", "own.py", *halved).err


def test_help(lit_rlvr):
    outcome = lit_rlvr("objective", "--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in ("show", "check", "lens", "GPPO(beta1=0.5"))
    shown = lit_rlvr("objective", "show", "--help")
    assert shown.code == 0
    assert "--compare" in shown.out


def test_picture_of_all_objectives(tmp_path, monkeypatch):
    """The script of the README's picture covers every objective of the package."""
    from lit_rlvr.objectives import PolicyObjective

    script = runpy.run_path(str(EXAMPLES / "objective_figures.py"))
    shown = {type(one.objective).__name__ for one in script["measurements"]()}
    of_package = {cls.__name__ for cls in PolicyObjective.__subclasses__() if cls.__module__.startswith("lit_rlvr.")}
    assert shown == of_package
    assert shown >= {"GRPO", "GPPO", "CISPO", "ASPO"}
