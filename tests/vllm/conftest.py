"""Tests of the vLLM engines, with the real vLLM. They need it installed, and processes that share nothing with other tests:
an engine in the process sets up a process group, threads and random states of its own.
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

VLLM = find_spec("vllm")
# This very folder is found as a package of that name, without an origin, where there is no other.
HAS_VLLM = VLLM is not None and VLLM.origin is not None
QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def pytest_configure() -> None:
    """Set what vLLM reads when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder, and say why, where vLLM is missing."""
    if HAS_VLLM:
        return
    reason = "vLLM is not installed (`make vllm` installs its CPU build on Linux, x86-64)"
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a two-layer Qwen3 with a byte tokenizer: `make_tiny(ties_embeddings=False, seed=1)`."""
    from lit_rlvr.tasks.tiny_model import TinyModelConfig, make_model

    def make(ties_embeddings: bool = True, seed: int = 0) -> Path:
        path = tmp_path_factory.mktemp("tied" if ties_embeddings else "untied") / "model"
        sizes = TinyModelConfig(
            hidden_size=64,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            head_dim=32,
            mlp_size=128,
            max_positions=1024,
            init_std=0.2,
            ties_embeddings=ties_embeddings,
        )
        make_model(str(path), sizes, byte_level=True, seed=seed)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_tied(make_tiny: Callable[..., Path]) -> Path:
    """A model whose head is its embedding matrix."""
    return make_tiny(ties_embeddings=True)


@pytest.fixture(scope="session")
def tiny_untied(make_tiny: Callable[..., Path]) -> Path:
    """A model with a head of its own."""
    return make_tiny(ties_embeddings=False)
