"""Weights in files: complete or not there, in order, and no more versions than needed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lit_rlvr.rollout.vllm.server.weight_files import MANIFEST, WeightFiles
from lit_rlvr.rollout.weight_buckets import weight_buckets


def weights(scale: float) -> list[tuple[str, Tensor]]:
    return [(f"layers.{i}.weight", torch.full((4, 4), scale + i)) for i in range(5)]


def test_what_is_written_comes_back_in_the_order_it_was_sent(tmp_path: Path) -> None:
    files = WeightFiles(str(tmp_path / "run"))
    written = files.write(weight_buckets(weights(1.0), 2 * 64), version=3)
    assert len(written.paths) == 3
    read = [item for path in files.read(3).paths for item in sorted(load_file(path).items())]
    assert [name for name, _ in read] == [name for name, _ in weights(1.0)]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(read, weights(1.0), strict=True))


def test_a_version_without_a_manifest_is_not_there(tmp_path: Path) -> None:
    files = WeightFiles(str(tmp_path / "run"))

    def interrupted() -> object:
        yield weights(1.0)
        raise RuntimeError("the trainer stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        files.write(interrupted(), version=4)  # type: ignore[arg-type]
    assert list((tmp_path / "run" / "version-4").glob("*.safetensors"))
    with pytest.raises(FileNotFoundError, match="version 4 are not complete"):
        files.read(4)
    assert len(files.write(iter([weights(2.0)]), version=4).paths) == 1


def test_a_version_written_again_holds_nothing_of_the_first(tmp_path: Path) -> None:
    files = WeightFiles(str(tmp_path / "run"))
    files.write(weight_buckets(weights(1.0), 64), version=1)
    files.write(weight_buckets(weights(1.0), 10_000), version=1)
    assert sorted(path.name for path in (tmp_path / "run" / "version-1").iterdir()) == ["bucket-00000.safetensors", MANIFEST]


def test_only_the_latest_version_stays(tmp_path: Path) -> None:
    files = WeightFiles(str(tmp_path / "run"))
    for version in (1, 2, 12):
        files.write(iter([weights(1.0)]), version)
    files.keep_only(2)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["version-2"]
    files.delete()
    assert not (tmp_path / "run").exists()
    files.delete()


def test_a_url_does_as_well(tmp_path: Path) -> None:
    import fsspec

    files = WeightFiles("memory://weights/run")
    written = files.write(weight_buckets(weights(1.0), 64), version=1)
    assert written.paths[0] == "memory://weights/run/version-1/bucket-00000.safetensors"
    with fsspec.open(written.paths[0], "rb") as file:
        assert len(file.read()) > 64
    files.write(iter([weights(2.0)]), version=2)
    files.keep_only(2)
    with pytest.raises(FileNotFoundError):
        files.read(1)
    files.delete()
