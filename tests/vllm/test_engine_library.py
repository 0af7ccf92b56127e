"""What is said where vLLM is missing, or is one that these engines do not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_rlvr.rollout.vllm.library import is_supported

UPDATE = "from lit_rlvr.rollout.vllm.library import load_vllm; load_vllm(); print('loaded')"


def run(code: str, *path: Path, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """Run code in a process that sees these folders first, and with `isolated` nothing that is called vllm behind them."""
    hide = "import sys, importlib.machinery as m\n"
    if isolated:
        hide += (
            "find = m.PathFinder.find_spec\n"
            "def without(name, path=None, target=None):\n"
            "    places = [p for p in sys.path if 'site-packages' not in p] if name == 'vllm' else path\n"
            "    return find(name, places, target)\n"
            "m.PathFinder.find_spec = staticmethod(without)\n"
        )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", hide + code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize("version", ["0.31.2", "0.34.0", "0.1.dev12+gabcdef"])
def test_another_version_is_named(tmp_path: Path, version: str) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").write_text(f"__version__ = {version!r}")
    result = run(UPDATE, tmp_path)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ImportError")
    for part in (f"vLLM {version} is installed", str(tmp_path / "vllm"), "vllm>=0.32,<0.34", "EmbeddedEngine"):
        assert part in message


@pytest.mark.parametrize("leaves_folder", [False, True])
def test_a_missing_one_is_told_how_to_install(tmp_path: Path, leaves_folder: bool) -> None:
    if leaves_folder:
        (tmp_path / "vllm").mkdir()
    result = run(UPDATE, tmp_path, isolated=True)
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ImportError: the vLLM engines need vLLM, which is not installed: pip install 'lit_rlvr[vllm]'")
    assert "EmbeddedEngine needs no vLLM" in message


def test_a_supported_one_is_loaded_with_its_environment(tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    environment = "os.environ['VLLM_ENABLE_V1_MULTIPROCESSING'], os.environ['VLLM_NO_USAGE_STATS']"
    (tmp_path / "vllm/__init__.py").write_text(f"import os\n__version__ = '0.33.0rc1+cpu'\nprint({environment})")
    result = run(UPDATE, tmp_path)
    assert result.stdout.split() == ["0", "1", "loaded"], result.stderr


def test_naming_the_engine_does_not_import_it() -> None:
    code = "import lit_rlvr.rollout, lit_rlvr.rollout.vllm as v; v.VLLMEngine(); print([m for m in sys.modules if m == 'vllm'])"
    assert run(code).stdout.strip() == "[]"


@pytest.mark.parametrize(("version", "expected"), [("0.32.0", True), ("0.33.1", True), ("0.34.0", False), ("0.31.9", False)])
def test_supported_versions(version: str, expected: bool) -> None:
    assert is_supported(version) is expected
