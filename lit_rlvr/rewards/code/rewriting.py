"""From `assert f(1, 2) == 3` to a call test: the comparison is then made by the trusted process."""

import ast
import json
import math
from collections.abc import Collection
from typing import Any

from lit_rlvr.rewards.code.cases import CallTest

_NOT_LITERAL = object()


def call_of_assert(node: ast.Assert, candidate: str, defined: Collection[str]) -> CallTest | None:
    """Return the call test that an assertion amounts to; None when it is of another form.

    The form: a call of one of the program's functions, compared by `==` with a literal (or by `is` with True, False or None), on
    either side. Arguments are literals that JSON carries unchanged, all by position or all by name: a tuple is not, it would arrive
    as a list. The value may be a tuple: a returned tuple is a list by then.

    Args:
        node: the assertion.
        candidate: what `candidate` stands for (`add`, `Solution().add`); empty when it is just a name.
        defined: names that the script defines or imports itself: those are not the program's.
    """
    if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
        return None
    operator, sides = node.test.ops[0], (node.test.left, node.test.comparators[0])
    for call, other in (sides, sides[::-1]):
        function = _function(call, candidate, defined)
        arguments, expected = _arguments(call), _literal(other, is_tuple_fine=True)
        if not function or arguments is _NOT_LITERAL or expected is _NOT_LITERAL:
            continue
        is_identity = isinstance(operator, ast.Is) and (expected is None or isinstance(expected, bool))
        if isinstance(operator, ast.Eq) or is_identity:
            return _test(function, arguments, expected)
    return None


def _test(function: str, arguments: Any, expected: Any) -> CallTest | None:
    try:
        return CallTest(function, json.dumps(arguments), json.dumps(expected))
    except ValueError:  # too deeply nested, or not a number
        return None


def _function(node: ast.expr, candidate: str, defined: Collection[str]) -> str:
    """Return the name of the program's function that is called, `Class.method` for `Class().method(...)`; empty for none."""
    if not isinstance(node, ast.Call):
        return ""
    called: ast.expr = node.func
    if candidate and isinstance(called, ast.Name) and called.id == "candidate":
        called = ast.parse(candidate, mode="eval").body
    if isinstance(called, ast.Name):
        return "" if called.id in defined else called.id
    if not isinstance(called, ast.Attribute) or not isinstance(called.value, ast.Call):
        return ""
    owner, made = called.value.func, called.value
    is_bare = isinstance(owner, ast.Name) and owner.id not in defined and not made.args and not made.keywords
    return f"{owner.id}.{called.attr}" if is_bare and isinstance(owner, ast.Name) else ""


def _arguments(node: ast.expr) -> Any:
    """Return the list of positional or the dictionary of named arguments."""
    if not isinstance(node, ast.Call) or (node.args and node.keywords):
        return _NOT_LITERAL
    if any(keyword.arg is None for keyword in node.keywords):
        return _NOT_LITERAL
    named = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    values = [_literal(argument) for argument in node.args]
    if any(value is _NOT_LITERAL for value in (*values, *named.values())):
        return _NOT_LITERAL
    return named or values


def _literal(node: ast.expr, is_tuple_fine: bool = False) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return _NOT_LITERAL
    return value if _survives_json(value, is_tuple_fine) else _NOT_LITERAL


def _survives_json(value: Any, is_tuple_fine: bool) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _survives_json(item, is_tuple_fine) for key, item in value.items())
    if isinstance(value, list) or (is_tuple_fine and isinstance(value, tuple)):
        return all(_survives_json(item, is_tuple_fine) for item in value)
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
