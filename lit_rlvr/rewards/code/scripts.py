"""Splitting a script of assertions into tests."""

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lit_rlvr.rewards.code.cases import AssertTest, CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.pytest_stand_in import with_stand_in
from lit_rlvr.rewards.code.rewriting import call_of_assert

SOLUTION = "solution"
"""Module from which test files import the program's functions; such imports are dropped."""

_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
"""Statements whose place among assertions does not matter."""


def split_script(script: str, candidate: str = "") -> list[CodeTest]:
    """Return the tests of a script: one for each assertion where they stand on their own, one for the whole otherwise.

    Read are assertions at the top level, in functions without arguments named `test...`, and in a function `check(candidate)`. An
    assertion that compares a call with a literal becomes a `CallTest`; the others become an `AssertTest` each, with the imports,
    constants and functions of the script before it. A body that does more than assert stays one `AssertTest`.

    Args:
        script: Python.
        candidate: what to hand to `check`; empty when the script calls it itself, or has none.

    Raises:
        ValueError: it is not Python, has no assertions, or needs more of pytest than `raises` and `approx`, unittest, or arguments of
            test functions.
    """
    try:
        tests = list(_tests(_parts(ast.parse(script).body, candidate)))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not Python ({error})") from error
    if not tests:
        raise ValueError("no assertion, no test function and no call of check() was found")
    for test in tests:
        if isinstance(test, AssertTest) and not _tested_names(test):
            raise ValueError(f"{excerpt(test.script[-80:])} calls nothing of the program and would always pass")
    return tests


@dataclass(frozen=True)
class _Parts:
    """A script, taken apart."""

    top_level: tuple[ast.stmt, ...]
    """All statements but test functions, `check` and its call."""
    functions: tuple[ast.FunctionDef, ...]
    """Test functions."""
    check: ast.FunctionDef | None
    candidate: str
    """What is handed to `check`; empty when nothing is."""

    @property
    def asserts(self) -> list[ast.stmt]:
        """Assertions of the top level."""
        return [node for node in self.top_level if isinstance(node, ast.Assert)]

    @property
    def preamble(self) -> list[ast.stmt]:
        """Imports, constants, functions: all of the top level that is no test."""
        return [node for node in self.top_level if not isinstance(node, ast.Assert)]

    @cached_property
    def defined(self) -> set[str]:
        """Names that are the script's own."""
        return _bound_names(ast.Module([*self.preamble, *self.functions], []))


def _parts(body: Sequence[ast.stmt], candidate: str) -> _Parts:
    top_level: list[ast.stmt] = []
    functions, check = [], None
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            functions.append(_checked(node))
        elif isinstance(node, ast.FunctionDef) and node.name == "check" and [a.arg for a in node.args.args] == ["candidate"]:
            check = node
        elif called := _handed_to_check(node):
            candidate = called
        elif not _is_docstring(node):
            top_level.extend(_without_solution_import(node))
    top_level = with_stand_in(top_level, [*functions, *([check] if check else [])])
    return _Parts(tuple(top_level), tuple(functions), check, candidate)


def _tests(parts: _Parts) -> Iterator[CodeTest]:
    if parts.asserts:
        is_plain = all(isinstance(node, _DEFINITIONS) for node in parts.preamble)
        yield from _from_body(parts, parts.asserts if is_plain else parts.top_level, "", parts.top_level)
    for function in parts.functions:
        call = ast.parse(f"{function.name}()").body
        yield from _from_body(parts, function.body, "", (*parts.preamble, function, *call))
    if parts.check is not None and parts.candidate:
        call = ast.parse("check(candidate)").body
        yield from _from_body(parts, parts.check.body, parts.candidate, (*parts.preamble, parts.check, *call))


def _from_body(parts: _Parts, body: Sequence[ast.stmt], candidate: str, whole: Sequence[ast.stmt]) -> Iterator[CodeTest]:
    """Yield a test for each assertion of a body that does nothing else, otherwise one that runs `whole`."""
    statements = [node for node in body if not _is_docstring(node) and not isinstance(node, ast.Pass)]
    asserts = [node for node in statements if isinstance(node, ast.Assert)]
    if len(asserts) < len(statements) or not asserts:
        yield AssertTest(_source(*whole), candidate)
        return
    for node in asserts:
        call = call_of_assert(node, candidate, parts.defined)
        yield call or AssertTest(_source(*parts.preamble, node), candidate)


def _bound_names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def _tested_names(test: AssertTest) -> set[str]:
    """Return the names that a script uses but neither defines nor finds among the builtins: those of the program."""
    tree = ast.parse(test.script)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    candidate = used & {"candidate"} if test.candidate else set()
    return candidate | used - _bound_names(tree) - set(vars(builtins))


def _source(*nodes: ast.stmt) -> str:
    return ast.unparse(ast.fix_missing_locations(ast.Module(list(nodes), []))) + "\n"


def _checked(function: ast.FunctionDef) -> ast.FunctionDef:
    if function.args.args or function.decorator_list:
        raise ValueError(f"{function.name} has arguments or decorators: fixtures and parametrized tests are not read")
    return function


def _handed_to_check(node: ast.stmt) -> str:
    """Return the argument of a statement `check(...)`, empty for any other statement."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "check" or len(call.args) != 1:
        return ""
    return ast.unparse(call.args[0])


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _without_solution_import(node: ast.stmt) -> list[ast.stmt]:
    """Return nothing for `from solution import f`; an alias stays as an assignment."""
    if not isinstance(node, ast.ImportFrom) or node.module != SOLUTION:
        return [node]
    return [ast.parse(f"{alias.asname} = {alias.name}").body[0] for alias in node.names if alias.asname]
