"""Whether a class reads a parameter of its constructor, found in its source without running it."""

import ast
import dataclasses
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

READS_EVERYTHING = frozenset({"asdict", "astuple", "fields", "replace", "vars", "locals", "save_hyperparameters", "__dict__"})
"""Names by which a class may read all of its parameters at once."""
INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
OWN_PACKAGE = __name__.split(".", 1)[0]


def is_read(thing: type | Callable[..., Any], parameter: str) -> bool:
    """Return False when a constructor (or function) takes a parameter and nothing ever reads it; True when that cannot be told.

    A parameter is read where its name is, other than in a check that only raises. One that is merely stored on `self` is read where
    that attribute is, anywhere in the modules and packages of the class and its bases; so is a dataclass field. For classes of installed
    libraries storing is enough.
    """
    if not inspect.isclass(thing):
        return _is_read_in_body(_definition(thing), parameter, ()) if inspect.isfunction(thing) else True
    for owner in thing.__mro__:
        if (
            dataclasses.is_dataclass(owner)
            and parameter in owner.__dict__.get("__dataclass_fields__", {})
            and _is_generated(owner)
        ):
            return _is_installed(owner) or _attribute_is_read(thing, parameter)
        definition = _definition(owner.__dict__.get("__init__"))
        if definition is not None and parameter in _parameters(definition):
            return _is_read_in_body(definition, parameter, () if _is_installed(owner) else (thing,))
    return True


def place_of(thing: type | Callable[..., Any]) -> str:
    """Return file and line of a class or function."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return f"{thing.__module__}.{thing.__qualname__}"


def _is_generated(owner: type) -> bool:
    """Return whether the constructor was written by `dataclass`."""
    constructor = owner.__dict__.get("__init__")
    code = getattr(inspect.unwrap(constructor), "__code__", None) if constructor is not None else None
    return code is not None and not Path(code.co_filename).is_file()


def _is_installed(owner: type) -> bool:
    """Return whether a class is of a library, other than this one."""
    if owner.__module__.split(".", 1)[0] == OWN_PACKAGE:
        return False
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return file is None or any(Path(file).is_relative_to(folder) for folder in INSTALLED)


@cache
def _definition(function: Any) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)


def _parameters(definition: ast.FunctionDef) -> set[str]:
    arguments = definition.args
    return {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def _is_read_in_body(definition: ast.FunctionDef | None, parameter: str, stored_for: tuple[type, ...]) -> bool:
    """Return whether a parameter is read; what is only stored counts when it is read later, by the class in `stored_for`."""
    if definition is None or any(name in READS_EVERYTHING for name in _names(definition)):
        return True
    stored: set[str] = set()
    for value, attributes in _uses(definition.body):
        if parameter in {node.id for node in ast.walk(value) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}:
            if not attributes or not stored_for:
                return True
            stored |= attributes
    return any(_attribute_is_read(stored_for[0], attribute) for attribute in stored)


def _uses(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, set[str]]]:
    """Yield the parts of a body that matter: each with the attributes of `self` that it is stored in, if that is all it does."""
    for statement in body:
        if (
            isinstance(statement, ast.If)
            and all(isinstance(inner, ast.Raise) for inner in statement.body)
            and not statement.orelse
        ):
            continue
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            yield from _pairs(statement.targets[0], statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from _pairs(statement.target, statement.value)
        else:
            yield statement, set()


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.AST, set[str]]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for part, its_value in zip(target.elts, value.elts, strict=True):
            yield from _pairs(part, its_value)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield value, {target.attr}
    else:
        yield value, set()


def _attribute_is_read(cls: type, attribute: str) -> bool:
    """Return whether `.attribute` is read in a class, its bases, their modules, or the packages these belong to."""
    owners = [owner for owner in cls.__mro__ if owner is not object]
    for owner in owners:
        names = _names_of_class(owner)
        if names & READS_EVERYTHING or attribute in names:
            return True
    modules = [module for owner in owners if (module := sys.modules.get(owner.__module__)) is not None]
    own = {owner.__module__.split(".", 1)[0] for owner in owners if not _is_installed(owner)}
    files = [file for module in modules if (file := _file(module)) is not None]
    return any(attribute in _attributes_of(file) for file in (*files, *_files_of(frozenset(own))))


@cache
def _files_of(packages: frozenset[str]) -> tuple[Path, ...]:
    """Return the source files of top-level packages or modules."""
    found: list[Path] = []
    for package in packages:
        file = _file(sys.modules.get(package))
        if file is not None:
            found += sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return tuple(found)


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file is not None and file.endswith(".py") else None


@cache
def _names_of_class(owner: type) -> set[str]:
    """Return what a class reads by name: attributes, names, and texts, which may be names for `getattr`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError, SyntaxError):
        return set()
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {*_attributes(tree), *(text for text in texts if text.isidentifier()), *(set(_names(tree)) & READS_EVERYTHING)}


@cache
def _attributes_of(file: Path) -> frozenset[str]:
    try:
        return frozenset(_attributes(ast.parse(file.read_text(encoding="utf-8"))))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return frozenset()


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that are read, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
