"""The metrics of a run, read back from the CSV files that Lightning's `CSVLogger` wrote."""

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import fsspec


@dataclass(frozen=True)
class Point:
    """One logged value."""

    step: int
    """Optimizer steps done when it was logged (the logger's counter)."""
    epoch: int | None
    """The Trainer's epoch: the RL iteration, counted from 0. None when the logger did not write it."""
    value: float


@dataclass(frozen=True)
class Curves:
    """All metrics of one run by name."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.points

    @property
    def has_rollouts(self) -> bool:
        """True for a run with RL iterations, False for supervised training."""
        return any(name.startswith("rollout/") for name in self.points)

    def names(self, prefix: str) -> list[str]:
        """Return the metrics whose names start with `prefix`, sorted."""
        return sorted(name for name in self.points if name.startswith(prefix))

    def by_step(self, name: str) -> tuple[list[float], list[float]]:
        """Return optimizer steps and values."""
        points = self.points[name]
        return [float(p.step) for p in points], [p.value for p in points]

    def by_iteration(self, name: str) -> tuple[list[float], list[float]]:
        """Return the number of finished iterations and the mean value of each.

        A rollout of epoch `e` shows the policy after `e` iterations; a validation in that epoch, and what training logged, the
        policy after `e + 1`. A validation before the first optimizer step stands at 0, one after the training at the last.
        """
        last = max((p.epoch for n in self.names("rollout/") for p in self.points[n] if p.epoch is not None), default=None)
        grouped: dict[float, list[float]] = {}
        for point in self.points[name]:
            if point.epoch is None:
                continue
            if name.startswith(("rollout/", "reward/")):
                finished = point.epoch
            elif point.step == 0 and name.startswith("val/"):
                finished = 0
            else:
                finished = (point.epoch if last is None else min(point.epoch, last)) + 1
            grouped.setdefault(float(finished), []).append(point.value)
        return list(grouped), [sum(values) / len(values) for values in grouped.values()]


def read_run(folder: str | os.PathLike[str]) -> Curves:
    """Read all metrics of a run.

    A resumed run writes into a new version: a later version's values of a metric replace the earlier ones from its first step
    on, because the steps after the checkpoint were trained again.

    Args:
        folder: the folder (or fsspec URL) that holds `metrics.csv`, or `version_0`, `version_1`, ..., or one folder with those.

    Raises:
        FileNotFoundError: when there is no `metrics.csv`.
        ValueError: when the folder holds several runs, or a value is not a number.
    """
    filesystem, root = fsspec.core.url_to_fs(os.fspath(folder))
    points: dict[str, tuple[Point, ...]] = {}
    for path in _version_files(filesystem, root):
        for name, later in _read_file(filesystem, path).items():
            earlier = (point for point in points.get(name, ()) if point.step < later[0].step)
            points[name] = (*earlier, *later)
    return Curves(points)


def _version_files(filesystem: fsspec.AbstractFileSystem, root: str) -> list[str]:
    """Return the metrics files of the run, oldest first."""
    root = root.rstrip("/")
    for pattern in ("metrics.csv", "version_*/metrics.csv", "*/version_*/metrics.csv"):
        paths = sorted(filesystem.glob(f"{root}/{pattern}"), key=_version)
        runs = sorted({path.rsplit("/", 2)[0] for path in paths})
        if len(runs) > 1:
            raise ValueError(f"{root} holds several runs: {', '.join(runs)}; name one of them")
        if paths:
            return paths
    raise FileNotFoundError(f"no metrics.csv in {root} or in a version_* folder below it: did the run use the CSVLogger?")


def _version(path: str) -> int:
    name = path.rsplit("/", 2)[-2].removeprefix("version_")
    return int(name) if name.isdigit() else -1


def _read_file(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, list[Point]]:
    """Return the values of one file; empty cells and values that are not finite are left out."""
    points: dict[str, list[Point]] = {}
    with filesystem.open(path, "rt", newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                step = int(float(row.get("step") or 0))
                epoch = int(float(row["epoch"])) if row.get("epoch") else None
                values = {name: float(cell) for name, cell in row.items() if cell and name not in ("step", "epoch")}
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {line}: {error}; every cell must hold a number") from error
            for name, value in values.items():
                if math.isfinite(value):
                    points.setdefault(name, []).append(Point(step, epoch, value))
    return points
