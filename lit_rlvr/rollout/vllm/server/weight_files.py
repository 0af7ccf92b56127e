"""Weights on their way through files: one folder a version, complete once its manifest is there."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import fsspec
from torch import Tensor

MANIFEST = "manifest.json"
"""Written last: a folder without it is unfinished, or was given up."""


@dataclass(frozen=True)
class WeightVersion:
    """One complete version of the weights in files."""

    version: int
    paths: tuple[str, ...]
    """The buckets, in the order in which they are to be loaded; paths, or URLs, as a server can open them."""


class WeightFiles:
    """Writes versions of the weights as safetensors files, and keeps the latest complete one.

    Args:
        folder: a folder of its own, which the servers can read under the same name; any fsspec URL.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/")
        self._filesystem, self._path = fsspec.url_to_fs(self.folder)

    def write(self, buckets: Iterable[list[tuple[str, Tensor]]], version: int) -> WeightVersion:
        """Write a version, one bucket a file, and its manifest at the end. One bucket is held in memory at a time."""
        from safetensors.torch import save

        self._drop(version)
        self._filesystem.makedirs(self._folder(version), exist_ok=True)
        names: list[str] = []
        for bucket in buckets:
            names.append(f"bucket-{len(names):05d}.safetensors")
            content = save({name: tensor.detach().cpu().contiguous() for name, tensor in bucket})
            bucket.clear()
            with self._filesystem.open(f"{self._folder(version)}/{names[-1]}", "wb") as file:
                file.write(content)
        with self._filesystem.open(f"{self._folder(version)}/{MANIFEST}", "wb") as file:
            file.write(json.dumps({"version": version, "files": names}).encode())
        return self.read(version)

    def read(self, version: int) -> WeightVersion:
        """Return what the manifest of a version lists.

        Raises:
            FileNotFoundError: the version is not complete, or was deleted.
        """
        path = f"{self._folder(version)}/{MANIFEST}"
        try:
            manifest = json.loads(self._filesystem.cat_file(path))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"weights of version {version} are not complete in {self.folder}: there is no {path}"
            ) from None
        folder = f"{self.folder}/{self._name(version)}"
        return WeightVersion(int(manifest["version"]), tuple(f"{folder}/{name}" for name in manifest["files"]))

    def keep_only(self, version: int) -> None:
        """Delete all other versions."""
        for path in self._filesystem.ls(self._path, detail=False):
            if path.rstrip("/").rsplit("/", 1)[-1] != self._name(version):
                self._filesystem.rm(path, recursive=True)

    def delete(self) -> None:
        """Delete the folder with everything in it."""
        if self._filesystem.exists(self._path):
            self._filesystem.rm(self._path, recursive=True)

    def _drop(self, version: int) -> None:
        if self._filesystem.exists(self._folder(version)):
            self._filesystem.rm(self._folder(version), recursive=True)

    def _name(self, version: int) -> str:
        return f"version-{version}"

    def _folder(self, version: int) -> str:
        return f"{self._path}/{self._name(version)}"
