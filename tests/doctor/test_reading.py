"""Which parameters a class reads: none of ours is a dead setting, and dead ones are found."""

import importlib
import inspect
import pkgutil
from abc import ABC
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import lit_rlvr
from lit_rlvr.doctor.configured import configured
from lit_rlvr.doctor.reading import is_read

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
ROOMS = ("objectives", "advantages", "rewards", "rollout", "data", "modules", "callbacks", "tasks", "sandbox")
"""Where the classes live that a configuration may name."""


def classes_of_the_package() -> Iterator[type]:
    for module in pkgutil.walk_packages(lit_rlvr.__path__, "lit_rlvr."):
        if module.name.split(".")[1] in (*ROOMS, "rollout_correction", "rollout_gap") and ".inside" not in module.name:
            for thing in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(thing) and thing.__module__ == module.name and is_configurable(thing):
                    yield thing


def is_configurable(thing: type) -> bool:
    """Whether it is an implementation of an interface, or plain settings."""
    is_part = issubclass(thing, ABC | Callback | LightningModule | LightningDataModule)
    return is_part or (
        is_dataclass(thing)
        and thing.__name__.endswith(("Config", "Format", "Fields", "Limits", "Params", "Bounds", "Sampling"))
    )


@pytest.mark.parametrize("thing", [*classes_of_the_package()], ids=lambda thing: thing.__name__)
def test_every_class_of_the_package_reads_its_parameters(thing: type) -> None:
    parameters = [name for name in inspect.signature(thing.__init__).parameters if name not in ("self", "args", "kwargs")]  # type: ignore[misc]
    assert [name for name in parameters if not is_read(thing, name)] == []


def test_there_are_many_such_classes() -> None:
    assert len([*classes_of_the_package()]) > 60


@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_configuration_is_read(file: Path) -> None:
    parts = [part for part in configured(yaml.safe_load(file.read_text())) if part.thing is not None]
    assert [(part.keys, name) for part in parts for name in part.settings if not is_read(part.thing, name)] == []


@pytest.mark.parametrize(
    "thing", [Trainer, ModelCheckpoint, torch.optim.AdamW, torch.optim.SGD, torch.optim.lr_scheduler.CosineAnnealingLR]
)
def test_libraries_are_given_the_benefit_of_the_doubt(thing: type) -> None:
    assert all(is_read(thing, name) for name in [*inspect.signature(thing.__init__).parameters][1:])  # type: ignore[misc]


class Dead:
    def __init__(self, ignored: int, stored_only: int, checked_only: int, wrapped: int, one: int, other: int) -> None:
        if checked_only < 0:
            raise ValueError(f"checked_only must not be negative, got {checked_only}")
        self.stored_only = stored_only
        self.dead_wrapped = float(wrapped)
        self.dead_one, self.dead_other = one, other


@pytest.mark.parametrize("name", ["ignored", "stored_only", "checked_only", "wrapped", "one", "other"])
def test_a_dead_parameter_is_found(name: str) -> None:
    assert not is_read(Dead, name)


class Alive:
    def __init__(self, used: int, kept: int, by_name: int, for_base: int, in_function: int, pair: int) -> None:
        self.doubled = 2 * used
        self.kept = kept
        self.by_name = by_name
        self.first, self.second = pair, for_base
        self.call = lambda: in_function
        print(self.doubled)

    def read(self) -> list[int]:
        return [self.kept, self.call(), *(getattr(self, name) for name in ("by_name",)), self.first]

    def base(self) -> int:
        return self.second


class Heir(Alive):
    def __init__(self, extra: int, **kwargs: int) -> None:
        super().__init__(**kwargs)
        self.kept += extra


@pytest.mark.parametrize("name", ["used", "kept", "by_name", "for_base", "in_function", "pair"])
@pytest.mark.parametrize("thing", [Alive, Heir])
def test_a_living_parameter_is_not(thing: type, name: str) -> None:
    assert is_read(thing, name)


@dataclass
class Fields:
    living_field: int = 0
    dead_field: int = 0

    def read(self) -> int:
        return self.living_field


@dataclass
class WholeFields:
    any_field_of_all: int = 0

    def read(self) -> dict[str, int]:
        return asdict(self)


def test_fields_of_dataclasses() -> None:
    assert is_read(Fields, "living_field")
    assert not is_read(Fields, "dead_field")
    assert is_read(WholeFields, "any_field_of_all")


def test_functions() -> None:
    def schedule(optimizer: object, steps: int, dead: int) -> int:
        return steps

    assert is_read(schedule, "steps")
    assert not is_read(schedule, "dead")
