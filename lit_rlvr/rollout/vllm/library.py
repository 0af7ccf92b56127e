"""The one door to the vLLM library: what must be set before it is imported, and which versions of it are known to do what is asked here."""

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from packaging.specifiers import SpecifierSet
from packaging.version import Version

SUPPORTED = ">=0.32,<0.34"
"""Versions whose ways of reloading weights, of preempting requests and of reporting log-probs these engines were written for."""

QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
"""Environment of vLLM, unless the user has set it. Errors only: it warns of what is done here on purpose (no tokenizer, noise in place of
weights). And no statistics for its makers."""


def load_vllm(in_this_process: bool = True) -> ModuleType:
    """Import vLLM, with its environment set.

    Args:
        in_this_process: the engine shall run in this very process, where tensors can be handed over; vLLM would start one of its own.

    Raises:
        ImportError: it is not installed, or its version is outside `SUPPORTED`.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if in_this_process:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    found = find_spec("vllm")
    # A folder of this name on the path without any code in it is found too, without an origin.
    if found is None or found.origin is None:
        raise ImportError(
            "the vLLM engines need vLLM, which is not installed: pip install 'lit_rlvr[vllm]' (NVIDIA GPUs; there are builds for other "
            "hardware). data.engine: EmbeddedEngine needs no vLLM"
        )
    library = import_module("vllm")
    # The CPU build is distributed under another name: the metadata of "vllm" would not be found.
    version = str(getattr(library, "__version__", "unknown"))
    if not is_supported(version):
        raise ImportError(
            f"vLLM {version} is installed, in {os.path.dirname(str(found.origin))}, and the vLLM engines are known to work with "
            f"vllm{SUPPORTED}: pip install 'vllm{SUPPORTED}', or take data.engine: EmbeddedEngine, which needs none"
        )
    return library


def is_supported(version: str) -> bool:
    """Tell whether a version, possibly a preliminary or a local one, is among those supported.

    >>> is_supported("0.32.0+cpu"), is_supported("0.31.2"), is_supported("unknown")
    (True, False, False)
    """
    try:
        return SpecifierSet(SUPPORTED).contains(Version(version), prereleases=True)
    except ValueError:
        return False


def is_cpu_build() -> bool:
    """Tell whether this vLLM computes on the CPU."""
    load_vllm()
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())
