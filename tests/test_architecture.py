"""The rules of the house: who imports whom, what is imported lazily and only once, and how large things may grow."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lit_rlvr"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

PURE_LIBRARIES = {"torch", "jaxtyping"}
PURE_ROOMS = ("types", "ops", "token_scores", "rollout_correction", "rollout_gap", "objectives", "advantages")
"""Rooms that need nothing but torch, so that an objective can be read and tested on its own."""

MAY_IMPORT = {
    "types": ("types",),
    "ops": ("types", "ops"),
    "token_scores": ("types", "ops", "token_scores"),
    "rollout_correction": ("types", "ops", "rollout_correction"),
    "rollout_gap": ("types", "ops", "rollout_gap"),
    "objectives": PURE_ROOMS,
    "advantages": PURE_ROOMS,
    "rewards": ("types", "rewards", "sandbox"),
    "sandbox": ("types", "sandbox"),
    "rollout.engine": ("types",),
}
"""For each room, all that it may import from the package."""

MUST_NOT_IMPORT = {"modules": ("data", "rollout", "rewards"), "data": ("modules",)}
LAZY_AND_ONCE = ("math_verify", "peft", "datasets", "pyarrow", "wandb")
VLLM_ROOM = "rollout.vllm"


@dataclass(frozen=True)
class Import:
    """One name that a file imports."""

    name: str
    """Absolute dotted name, the imported attribute included."""
    line: int
    is_lazy: bool
    """True inside a function."""


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield every import of a file, wherever it stands; relative ones become absolute."""

    def visit(node: ast.AST, is_lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, is_lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", node.lineno, is_lazy) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    yield from visit(ast.parse(source), False)


def is_within(name: str, *rooms: str) -> bool:
    """Whether an absolute name is one of these rooms of the package, or inside it."""
    return any(name == f"lit_rlvr.{room}" or name.startswith(f"lit_rlvr.{room}.") for room in rooms)


def layering_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Return what a file imports although its room must not."""
    faults = []
    for found in imports_of(source, module, is_package):
        top = found.name.split(".")[0]
        allowed = [room for rule, rooms in MAY_IMPORT.items() if is_within(module, rule) for room in rooms]
        forbidden = [room for rule, rooms in MUST_NOT_IMPORT.items() if is_within(module, rule) for room in rooms]
        if top == "lit_rlvr":
            is_fault = is_within(found.name, *forbidden) or (bool(allowed) and not is_within(found.name, *allowed))
        else:
            is_fault = is_within(module, *PURE_ROOMS) and top not in PURE_LIBRARIES | sys.stdlib_module_names
        if is_fault:
            faults.append(f"{module}:{found.line} imports {found.name}")
    return faults


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_who_imports_whom() -> None:
    faults = [f for path in FILES for f in layering_faults(path.read_text(), module_of(path), path.name == "__init__.py")]
    assert not faults


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lit_rlvr.ops", "import transformers"),
        ("lit_rlvr.types", "from lit_rlvr import ops"),
        ("lit_rlvr.objectives.new", "from lit_rlvr.modules.policy import Policy"),
        ("lit_rlvr.objectives.new", "from ..modules import policy"),
        ("lit_rlvr.objectives.new", "def f():\n    import lightning"),
        ("lit_rlvr.advantages", "import numpy.linalg"),
        ("lit_rlvr.rewards.new", "from lit_rlvr.rollout.engine import SamplingParams"),
        ("lit_rlvr.rollout.engine", "from .collector import collect"),
        ("lit_rlvr.modules.new", "def f():\n    from lit_rlvr.data import loaders"),
        ("lit_rlvr.modules.new", "from lit_rlvr import rewards"),
        ("lit_rlvr.data.new", "import lit_rlvr.modules"),
    ],
)
def test_a_breach_of_the_layers_is_seen(module: str, source: str) -> None:
    assert len(layering_faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lit_rlvr.ops", "import math\nimport torch.nn.functional as F\nfrom jaxtyping import Float"),
        ("lit_rlvr.objectives.new", "from .base import PolicyObjective\nfrom lit_rlvr.ops import kl_k3"),
        ("lit_rlvr.modules.new", "import lightning\nfrom lit_rlvr.objectives import GRPO"),
        ("lit_rlvr.data.new", "from lit_rlvr.rollout.engine import RolloutEngine"),
        ("lit_rlvr.rollout.vllm", "from lit_rlvr.rollout.engine import RolloutEngine"),
    ],
)
def test_what_the_layers_allow_is_allowed(module: str, source: str) -> None:
    assert layering_faults(source, module) == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    (found,) = imports_of("from .base import PolicyObjective", "lit_rlvr.objectives", is_package=True)
    assert found.name == "lit_rlvr.objectives.base.PolicyObjective"


@pytest.mark.parametrize("library", LAZY_AND_ONCE)
def test_is_imported_lazily_and_in_one_file(library: str) -> None:
    found = [
        (path, i) for path in FILES for i in imports_of(path.read_text(), module_of(path)) if i.name.split(".")[0] == library
    ]
    assert len({path for path, _ in found}) <= 1, [f"{path}:{i.line}" for path, i in found]
    assert all(i.is_lazy for _, i in found), [f"{path}:{i.line}" for path, i in found if not i.is_lazy]


def test_vllm_is_imported_lazily_and_in_its_room() -> None:
    found = [(module_of(path), i) for path in FILES for i in imports_of(path.read_text(), module_of(path))]
    of_vllm = [(module, i) for module, i in found if i.name.split(".")[0] == "vllm"]
    assert not [f"{module}:{i.line}" for module, i in of_vllm if not (i.is_lazy and is_within(module, VLLM_ROOM))]


def test_laziness_is_told_apart() -> None:
    source = "import vllm\nclass A:\n    import vllm\n    def f(self):\n        if self:\n            import vllm\n"
    assert [i.is_lazy for i in imports_of(source, "lit_rlvr.rollout.vllm")] == [False, False, True]


def test_an_objective_needs_torch_only() -> None:
    heavy = ("transformers", "lightning", "vllm", "torchmetrics", "jsonargparse", "peft", "math_verify")
    code = f"import sys, lit_rlvr.objectives; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_files_are_short_and_named_for_what_they_hold() -> None:
    assert len(FILES) > 10
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}
    names = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & FORBIDDEN_NAMES


def test_functions_are_short() -> None:
    too_long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{module_of(path)}.{node.name}: {length} lines")
    assert not too_long
