"""What a zygote imports before programs run, and where it finds it."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence

_USUAL = """
    __future__ abc array atexit bisect builtins cmath collections collections.abc contextlib copy dataclasses datetime
    decimal enum errno fractions functools gc heapq io itertools json keyword linecache math numbers operator os queue
    random re reprlib resource signal statistics string struct sys textwrap threading time traceback types typing
    unicodedata warnings weakref encodings.ascii encodings.latin_1
"""
_UNUSUAL = """
    _sitebuiltins argparse ast asyncio base64 binascii bz2 calendar cmd code codecs concurrent.futures
    concurrent.futures.thread configparser contextvars copyreg csv ctypes difflib dis doctest email.message encodings.cp1252
    encodings.idna encodings.utf_16 encodings.utf_8_sig fileinput fnmatch getpass gettext glob graphlib gzip hashlib hmac
    html html.parser http.client importlib inspect ipaddress locale logging logging.handlers lzma mmap multiprocessing
    multiprocessing.pool opcode optparse pathlib pdb pickle pickletools platform pprint profile pstats quopri runpy sched
    secrets select selectors shelve shlex shutil socket socketserver stringprep subprocess symtable sysconfig tempfile
    timeit token tokenize trace tracemalloc unittest unittest.mock urllib.parse uuid xml.etree.ElementTree zipfile zlib
    zoneinfo
"""
USUAL_MODULES = tuple(_USUAL.split())
"""What most programs import. Forking costs more the more is loaded, so this is all that every zygote has."""
UNUSUAL_MODULES = tuple(_UNUSUAL.split())
"""More of the standard library. What is in neither list can be imported where the library's files can be read."""

_IMPORTS = re.compile(r"\b(?:from|import)\b([^\n]*)")
_IMPORTS_BY_NAME = re.compile(r"__import__|importlib|\bexec\b")
_MODULE = re.compile(r"[^\W\d][\w.]*")
_NUMPY = ("numpy", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random")


DEFAULT_PRELOAD = _NUMPY if importlib.util.find_spec("numpy") else ()
"""numpy, where it is installed."""


class Runtime:
    """The modules that programs can import, apart by cost: what is not usual is only loaded for programs that mention it.

    Args:
        preload: more modules, of the standard library or installed here.

    Raises:
        ValueError: a module is not installed.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.usual = list(USUAL_MODULES)
        self.unusual = [*UNUSUAL_MODULES, *preload]
        self.paths: list[str] = []
        for name in sorted({_top(name) for name in preload} - sys.stdlib_module_names):
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                raise ValueError(f"preload names '{name}', which is not installed; install it or leave it out")
            folder = os.path.dirname(spec.origin)
            self.paths.append(os.path.dirname(folder) if spec.submodule_search_locations else folder)
        self._usual_tops = {_top(name) for name in USUAL_MODULES}
        self._unusual_tops = {_top(name) for name in self.unusual} - self._usual_tops
        self._unusual_names = {name for name in self.unusual if "." in name and _top(name) in self._usual_tops}

    def needs_unusual(self, code: str) -> bool:
        """Return whether a program may import a module that is not usual. A guess is enough: both kinds of zygote are safe."""
        if _IMPORTS_BY_NAME.search(code):
            return True
        words = {word for line in _IMPORTS.findall(code) for word in _MODULE.findall(line)}
        return not words.isdisjoint(self._unusual_names) or not {_top(word) for word in words}.isdisjoint(self._unusual_tops)


def interpreter() -> str:
    """Return the interpreter outside any virtual environment.

    Raises:
        OSError: Python does not know where its own executable is.
    """
    path = getattr(sys, "_base_executable", None) or sys.executable
    if not path:
        raise OSError("this Python does not know its own executable (it is embedded in another program)")
    return os.path.realpath(path)


def num_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _top(name: str) -> str:
    return name.partition(".")[0]
