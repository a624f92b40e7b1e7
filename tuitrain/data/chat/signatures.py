"""How a function, method or class is called, from its source alone."""

from __future__ import annotations

import ast

MAX_CHARS = 160
"""Longer parameter lists become an ellipsis."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def call_of(node: _Function | ast.ClassDef, name: str, *, in_class: bool) -> tuple[str, str]:
    """What it is (function, method, class or property), and its name with its parameters."""
    if isinstance(node, ast.ClassDef):
        made_by = next((each for each in node.body if isinstance(each, _Function) and each.name == "__init__"), None)
        return "class", name if made_by is None else name + _parameters(made_by, bound=True)
    decorators = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    if in_class and decorators & {"property", "cached_property", "setter"}:
        return "property", name
    return ("method" if in_class else "function"), name + _parameters(node, bound=in_class and "staticmethod" not in decorators)


def _parameters(node: _Function, *, bound: bool) -> str:
    """The parameters in parentheses, without the object a bound method is called on."""
    given = node.args
    first = given.posonlyargs or given.args
    if bound and first:
        shorter = ast.arguments(**{field: getattr(given, field) for field in given._fields})
        if given.posonlyargs:
            shorter.posonlyargs = given.posonlyargs[1:]
        else:
            shorter.args = given.args[1:]
        count = len(shorter.posonlyargs) + len(shorter.args)
        shorter.defaults = given.defaults[-count:] if count else []
        given = shorter
    text = ast.unparse(given)
    return f"({text})" if len(text) <= MAX_CHARS else "(...)"
