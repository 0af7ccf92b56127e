"""The two parts of pytest that test data uses, `raises` and `approx`, for scripts in a sandbox that has no pytest."""

import ast
from collections.abc import Sequence

SOURCE = """
class pytest:
    class raises:
        def __init__(self, expected_exception, match=None):
            self.expected, self.match, self.value = expected_exception, match, None

        def __enter__(self):
            return self

        def __exit__(self, kind, value, trace):
            assert kind is not None, f"did not raise {self.expected}"
            self.type, self.value = kind, value
            import re
            return issubclass(kind, self.expected) and (self.match is None or re.search(self.match, str(value)) is not None)

    class approx:
        def __init__(self, expected, rel=None, abs=None):
            self.expected, self.rel, self.abs = expected, rel, abs

        def __eq__(self, got):
            return self._is_near(self.expected, got)

        def _is_near(self, expected, got):
            if isinstance(expected, dict) and isinstance(got, dict):
                return expected.keys() == got.keys() and all(self._is_near(expected[key], got[key]) for key in expected)
            if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
                return len(expected) == len(got) and all(map(self._is_near, expected, got))
            if expected == got or not all(isinstance(value, (int, float, complex)) for value in (expected, got)):
                return expected == got
            rel = self.rel if self.rel is not None else 1e-6 if self.abs is None else 0.0
            near = max(1e-12 if self.abs is None else self.abs, rel * abs(expected))
            return near != float("inf") and abs(expected - got) <= near
"""
"""Tolerances as in pytest: 1e-6 relative or 1e-12 absolute, and only the absolute one where that is given alone."""


def with_stand_in(nodes: Sequence[ast.stmt], tests: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a script without `import pytest`, behind the stand-in when the script uses it.

    Args:
        nodes: the script's statements outside its test functions.
        tests: its test functions.

    Raises:
        ValueError: it uses more of pytest than the stand-in has, or unittest.
    """
    is_used = False
    for node in ast.walk(ast.Module([*nodes, *tests], [])):
        for child in ast.iter_child_nodes(node):
            name = child.id if isinstance(child, ast.Name) else ""
            if name == "unittest" or (name == "pytest" and not _is_known(node)):
                raise ValueError(f"it uses {ast.unparse(node)[:60]!r}: of pytest, only raises() and approx() are known")
            is_used |= name == "pytest"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises" and len(node.args) != 1:
            raise ValueError("it calls pytest.raises() with a function; write `with pytest.raises(...):`")
    rest = [node for node in nodes if not _imports_pytest(node)]
    return [*ast.parse(SOURCE).body, *rest] if is_used else rest


def _is_known(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("raises", "approx")


def _imports_pytest(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) and all(alias.name == "pytest" for alias in node.names)
