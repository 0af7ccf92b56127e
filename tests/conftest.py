"""Fixtures of the whole suite. Every jaxtyping annotation of the package becomes an assertion here."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("lit_rlvr", "beartype.beartype")

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Return the path of a real data file, or skip the test where such files are not at hand."""
    folder = Path(os.environ.get("LIT_RLVR_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {folder} (set LIT_RLVR_TEST_DATA to a folder with real problems)")
        return path

    return find
