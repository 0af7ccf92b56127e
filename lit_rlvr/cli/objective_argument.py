"""An objective as one names it on the command line: a class, a class with settings, a Python file, a configuration file."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from inspect import isabstract, isclass, signature
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_rlvr import objectives
from lit_rlvr.cli.class_file import class_of_file
from lit_rlvr.cli.parser import Parser
from lit_rlvr.cli.parsing_settings import configure_parsing
from lit_rlvr.cli.suggestion import did_you_mean
from lit_rlvr.objectives import PolicyObjective

NAME_AND_SETTINGS = re.compile(r"(?P<name>[^(]+?)\s*(?:\((?P<settings>.*)\))?", re.DOTALL)
PYTHON_FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w+))?")
SECTIONS = ("model.init_args.objective", "model.objective", "objective")
"""Where a configuration holds its objective."""


@dataclass(frozen=True)
class NamedObjective:
    """An objective and what to call it."""

    label: str
    """The class, and the settings that are not its defaults: `GPPO(beta1=0.5)`."""
    class_path: str
    settings: Mapping[str, Any]
    """All settings, defaults included."""
    objective: PolicyObjective


def read_objective(text: str) -> NamedObjective:
    """Return the objective that `text` names; its settings are checked as they are for training.

    - `GPPO`, `gppo`, `lit_rlvr.objectives.GPPO`, `my_package.my_module.Mine`
    - `my_file.py`, when it has one objective, or `my_file.py:Mine`
    - `configs/objective/gppo.yaml`: a configuration with `model.init_args.objective`, or `class_path` and `init_args` alone
    - any of these with settings behind it: `GPPO(beta1=0.5, dual_clip=10)`. Values are literals of Python or YAML.

    Raises:
        ValueError: the settings are not written as above, the file has no objective, or the objective refuses a value.
        FileNotFoundError: there is no such file.
        SystemExit: the class or a setting is unknown, or a value has the wrong type; the message was printed.
    """
    parts = NAME_AND_SETTINGS.fullmatch(text.strip())
    if parts is None:
        raise ValueError(f"'{text}' names no objective: write GPPO, GPPO(beta1=0.5), my_file.py:MyObjective or a YAML file")
    name, settings = parts["name"], _settings(parts["settings"] or "", text)
    python_file = PYTHON_FILE.fullmatch(name)
    files = [name] if name.endswith((".yaml", ".yml")) else []
    if python_file:
        _check_exists(python_file["file"])
        section: dict[str, Any] = {"class_path": class_of_file(Path(python_file["file"]), python_file["name"], PolicyObjective)}
    elif files:
        section = _section_of_file(name)
    else:
        section = {"class_path": _path_of_class(name)}
    section["init_args"] = {**(section.get("init_args") or {}), **settings}
    return _instantiate(section, text, files)


def read_objectives(texts: Sequence[str]) -> list[NamedObjective]:
    """Return the objectives of a comparison; see `read_objective`.

    Raises:
        ValueError: also when two are the same.
    """
    named = [read_objective(text) for text in texts]
    labels = [one.label for one in named]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ValueError(f"{twice} is named twice: give one of them other settings, or leave it out")
    return named


class _ObjectiveParser(Parser):
    """Says which argument of the command line an error is about."""

    text = ""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the program; the message on one line."""
        words = " ".join((message or "").removeprefix("error: ").replace('Parser key "objective":', "").split())
        super().exit(status, f"error: {self.text}: {words}\n")


def _instantiate(section: Mapping[str, Any], text: str, files: list[str]) -> NamedObjective:
    """Build the objective from `class_path` and `init_args`."""
    configure_parsing()
    parser = _ObjectiveParser(prog="lit-rlvr objective")
    parser.text = text
    parser.args = [arg for file in files for arg in ("-c", file)]  # where the errors look for the line of a setting
    parser.add_argument("--objective", type=PolicyObjective, required=True)
    config = parser.parse_object({"objective": dict(section)})
    objective = parser.instantiate(config).objective
    settings = config.as_dict()["objective"].get("init_args", {})
    parameters = signature(type(objective)).parameters
    defaults = {key: _plain(parameter.default) for key, parameter in parameters.items()}
    changes = ", ".join(f"{key}={in_yaml(value)}" for key, value in settings.items() if value != defaults.get(key))
    label = type(objective).__name__ + (f"({changes})" if changes else "")
    return NamedObjective(label, f"{type(objective).__module__}.{type(objective).__qualname__}", settings, objective)


def _settings(text: str, argument: str) -> dict[str, Any]:
    """Read `beta1=0.5, dual_clip=10`. Nothing is evaluated: a value is a literal or YAML."""
    mend = "settings are written as keywords: GPPO(beta1=0.5, dual_clip=10)"
    try:
        call = ast.parse(f"_({text})", mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"'{argument}': {mend}") from error
    if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError(f"'{argument}': {mend}")
    source = f"_({text})"
    return {str(keyword.arg): _value(keyword.value, ast.get_source_segment(source, keyword.value)) for keyword in call.keywords}


def _value(node: ast.expr, text: str | None) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:  # null, true, {clip_low: 0.4}
        return yaml.safe_load(text or "")


def _section_of_file(file: str) -> dict[str, Any]:
    """Return `class_path` and `init_args` from a YAML file, with its interpolations resolved."""
    _check_exists(file)
    try:
        with fsspec.open(file, "r") as stream:
            config = OmegaConf.load(stream)
        found = config if "class_path" in config else None
        for key in SECTIONS:
            found = OmegaConf.select(config, key) if found is None else found
        section = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from error
    if isinstance(section, str):
        return {"class_path": section}
    if not isinstance(section, dict) or "class_path" not in section:
        raise ValueError(f"{file} names no objective: it needs model.init_args.objective, or class_path at the top")
    stray = set(section) - {"class_path", "init_args"}
    if stray:
        raise ValueError(f"{file}: '{min(stray)}' stands beside class_path; settings stand below init_args")
    return {str(key): value for key, value in section.items()}


def _path_of_class(name: str) -> str:
    """Return the import path of an objective of the package by its short name in any case; other names as they are."""
    classes = [thing for thing in vars(objectives).values() if isclass(thing) and not isabstract(thing)]
    known = {cls.__name__.lower(): f"{cls.__module__}.{cls.__qualname__}" for cls in classes}
    return known.get(name.lower(), name)


def _check_exists(file: str) -> None:
    if "://" not in file and not Path(file).is_file():
        folder = Path(file).parent
        siblings = [path.stem for path in folder.glob(f"*{Path(file).suffix}")] if folder.is_dir() else []
        raise FileNotFoundError(f"no file {file}.{did_you_mean(Path(file).stem, siblings)}")


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isclass(value) else value


def in_yaml(value: Any) -> str:
    """Return a setting as one would write it in one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {in_yaml(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
