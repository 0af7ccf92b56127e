"""Every isolation that this machine offers, each started once for a file of tests."""

from collections.abc import Iterator

import pytest

from lit_rlvr.sandbox import LocalSandbox, SandboxUnavailable


@pytest.fixture(scope="module", params=["namespaces", "landlock", "seccomp", "none"])
def local(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    """Return a sandbox of one isolation; skip where the kernel does not offer it."""
    sandbox = LocalSandbox(num_workers=2, isolation=request.param)
    try:
        sandbox.start()
    except SandboxUnavailable as error:
        pytest.skip(str(error).splitlines()[1])
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def strongest() -> Iterator[LocalSandbox]:
    """Return the sandbox a user gets without asking for anything."""
    sandbox = LocalSandbox(num_workers=2)
    yield sandbox
    sandbox.close()
