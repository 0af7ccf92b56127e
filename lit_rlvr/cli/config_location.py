"""Where a setting stands: which configuration file and line, or which flag."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import yaml

STRUCTURE = ("init_args", "class_path", "dict_kwargs")
"""Keys of a class's section that carry no name of their own; flags leave them out."""


@dataclass(frozen=True)
class Setting:
    """One setting as it was written."""

    path: tuple[str, ...]
    """Keys from the top; a position in a list is its number."""
    value: str | None
    """The scalar that was given; None for a section or a list."""
    place: str
    """`base.yaml, line 3` or `the flag --model.kl_coef`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The path without structure and list positions: what a flag would say."""
        return tuple(key for key in self.path if key not in STRUCTURE and not key.isdigit())

    @property
    def dotted(self) -> str:
        """The path as one writes it: `trainer.callbacks[0].init_args.every`."""
        return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in self.path).lstrip(".")


def config_files(args: Sequence[str]) -> list[str]:
    """Return the configuration files named on the command line, in order."""
    files = []
    for position, arg in enumerate(args):
        if arg in ("-c", "--config") and position + 1 < len(args):
            files.append(args[position + 1])
        elif arg.startswith(("--config=", "-c=")):
            files.append(arg.split("=", 1)[1])
    return files


def find_setting(names: Sequence[str], args: Sequence[str], value: str | None = None) -> Setting | None:
    """Return the first setting of that name (and value) in the files and flags of the command line.

    Args:
        names: keys from the top without `init_args`; keys of dictionaries in between may be missing.
        args: the command line.
        value: the scalar it was given; None accepts any.
    """
    for setting in _all_settings(args):
        if _names_end_alike(tuple(names), setting.names) and (value is None or setting.value == value):
            return setting
    return None


def syntax_error(args: Sequence[str]) -> str | None:
    """Return `FILE, line N: what is wrong` for the first configuration file that is no YAML, or None."""
    for file in config_files(args):
        try:
            _compose(file)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            return f"{file}, line {line}: not valid YAML: {error.problem}"
        except (OSError, yaml.YAMLError):
            continue
    return None


def duplicate_key(args: Sequence[str]) -> str | None:
    """Return where a configuration file gives a key twice (YAML would silently keep the last), or None."""
    for file in config_files(args):
        seen: dict[tuple[str, ...], str] = {}
        for setting in _file_settings(file):
            if setting.path in seen:
                return f"'{setting.dotted}' is given twice: {seen[setting.path]} and {setting.place}. Keep one."
            seen[setting.path] = setting.place
    return None


def settings_beside_init_args(names: Sequence[str], args: Sequence[str]) -> list[Setting]:
    """Return the settings that stand beside the `init_args` or `class_path` of the class at `names`, where none belongs."""
    settings = [setting for file in config_files(args) for setting in _file_settings(file)]
    sections = {s.path[:-1] for s in settings if s.path[-1] in STRUCTURE and s.names == tuple(names)}
    return [s for s in settings if s.path[:-1] in sections and s.path[-1] not in STRUCTURE]


def _names_end_alike(wanted: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Return whether `names` ends with the wanted key and contains the keys before it, in order."""
    if not wanted or not names or wanted[-1] != names[-1]:
        return False
    remaining = iter(names)
    return all(key in remaining for key in wanted)


def _all_settings(args: Sequence[str]) -> Iterator[Setting]:
    for file in config_files(args):
        yield from _file_settings(file)
    for position, arg in enumerate(args):
        if arg.startswith("--") and not arg.startswith("--config"):
            flag, _, value = arg.partition("=")
            following = args[position + 1] if position + 1 < len(args) else None
            yield Setting(tuple(flag[2:].rstrip("+").split(".")), value or following, f"the flag {flag}")


def _file_settings(file: str) -> Iterator[Setting]:
    try:
        root = _compose(file)
    except (OSError, yaml.YAMLError):
        return
    if root is not None:
        yield from _walk(root, (), file)


def _compose(file: str) -> yaml.Node | None:
    with fsspec.open(file, "r") as stream:
        node: yaml.Node | None = yaml.compose(stream, Loader=yaml.SafeLoader)
    return node


def _walk(node: yaml.Node, path: tuple[str, ...], file: str) -> Iterator[Setting]:
    children: list[tuple[str, Any, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(number), item, item) for number, item in enumerate(node.value)]
    for name, marked, child in children:
        scalar = str(child.value) if isinstance(child, yaml.ScalarNode) else None
        yield Setting((*path, name), scalar, f"{file}, line {marked.start_mark.line + 1}")
        yield from _walk(child, (*path, name), file)
