"""A class in a Python file that need not be on the import path."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isabstract, isclass
from pathlib import Path
from types import ModuleType

from lit_rlvr.cli.suggestion import did_you_mean


def class_of_file(file: Path, name: str | None, base: type) -> str:
    """Import a file and return the import path of a class in it.

    Args:
        file: ends in `.py`.
        name: the class; None takes the only one that the file defines.
        base: what the class must be a subclass of.

    Raises:
        ValueError: the file cannot be imported, has no such class, or several and no name was given.
    """
    module = _import(file)
    own = [thing for thing in vars(module).values() if isclass(thing) and thing.__module__ == module.__name__]
    classes = sorted(thing.__name__ for thing in own if issubclass(thing, base) and not isabstract(thing))
    if name is None and len(classes) > 1:
        raise ValueError(f"{file} has several: {', '.join(classes)}. Name one: {file}:{classes[0]}")
    if not classes:
        raise ValueError(f"{file} has no {base.__name__}: a class that inherits from it and defines its abstract methods")
    if name is not None and name not in classes:
        raise ValueError(f"{file} has no {base.__name__} '{name}'.{did_you_mean(name, classes)}")
    return f"{module.__name__}.{name or classes[0]}"


def _import(file: Path) -> ModuleType:
    """Import by the name it has from the working directory, or by its own, next to which it finds its neighbours."""
    path = file.resolve()
    inside = path.is_relative_to(Path.cwd())
    parts = path.relative_to(Path.cwd()).with_suffix("").parts if inside else (path.stem,)
    name = ".".join(parts)
    if not inside and str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # A file is code of its author: whatever it raises while it is imported is shown with its name.
    try:
        module = import_module(name) if all(part.isidentifier() for part in parts) else None
        if module is None or Path(module.__file__ or "").resolve() != path:
            module = _import_under(f"objective_file_{path.stem.replace('-', '_')}", path)
    except Exception as error:
        raise ValueError(f"cannot import {file}: {type(error).__name__}: {error}") from error
    return module


def _import_under(name: str, path: Path) -> ModuleType:
    """Import a file whose own name is taken by another module, or is no name."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
