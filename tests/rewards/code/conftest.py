from collections.abc import Iterator

import pytest

from lit_rlvr.sandbox import LocalSandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[LocalSandbox]:
    """Return a sandbox of this machine that all tests of the code reward share."""
    box = LocalSandbox(num_workers=2)
    yield box
    box.close()
