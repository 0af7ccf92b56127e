"""Which code is this: the git commit of a directory, and what was changed since."""

import hashlib
import os
import subprocess
from typing import Any

SOURCES = ("*.py", "*.yaml", "*.yml", "*.toml")
"""Files not yet under version control count as changes of the code when they match one of these."""
TIMEOUT = 20.0
"""Seconds before a git that does not answer is given up."""


def git_state(directory: str) -> dict[str, Any] | None:
    """Return the state of the git repository around a directory, or None without git, repository or commit.

    Returns:
        `root`, `commit`, `branch`; `has_changes`, True when anything differs from the commit or is not under version control;
        `changes_hash`, the SHA-256 of the difference to the commit followed by names and contents of new source files
        (`SOURCES`), or None where there is neither. Two runs with equal commit and hash ran the same code.
    """
    try:
        root = _git(directory, "rev-parse", "--show-toplevel").decode().strip()
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        has_changes = bool(_git(root, "status", "--porcelain"))
        changes_hash = _changes_hash(root)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"root": root, "commit": commit, "branch": branch, "has_changes": has_changes, "changes_hash": changes_hash}


def _changes_hash(root: str) -> str | None:
    difference = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")
    listed = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *SOURCES)
    new_files = sorted(name for name in listed.split(b"\0") if name)
    if not difference and not new_files:
        return None
    digest = hashlib.sha256(difference)
    for name in new_files:
        digest.update(name + b"\0")
        with open(os.path.join(os.fsencode(root), name), "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _git(directory: str, *arguments: str) -> bytes:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", directory, *arguments]
    return subprocess.run(
        command, capture_output=True, check=True, timeout=TIMEOUT, env=environment, stdin=subprocess.DEVNULL
    ).stdout
