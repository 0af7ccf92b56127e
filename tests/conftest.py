"""Fixtures of the whole suite. Every jaxtyping annotation of the package becomes an assertion here."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# An int is a float here, as in the language's own typing rules.
install_import_hook("lit_rlvr", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a two-layer model with random weights, large enough to make every token matter."""
    from lit_rlvr.tasks.tiny_model import TinyModelConfig, make_model

    path = tmp_path_factory.mktemp("tiny") / "model"
    sizes = TinyModelConfig(hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, mlp_size=64, init_std=0.3)
    make_model(str(path), sizes)
    return path
