"""Quantity: a number that can explain itself. Every figure the planner shows is one.

A quantity keeps its unit, the formula it came from with the inputs put into it, its source, and - for sums - its terms.
Building one formats nothing, so a whole plan costs about a millisecond; `explain` does the writing when somebody asks.

Formulas are written in Python's arithmetic over the names of `inputs` (and FUNCTIONS), so a test can evaluate every formula
of a plan and compare it with the value: the text on the screen and the code beside it cannot drift apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tuitrain_planners.sources import BIBLIOGRAPHY
from tuitrain_planners.units import format_value

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "min": min, "max": max, "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "ceil": math.ceil, "floor": math.floor,
}  # fmt: skip
"""What a formula may call besides arithmetic."""

_SILENT: Final = ("", "definition", "given")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """One planned number."""

    name: str
    """What it is, in words: `peak memory`."""
    value: float
    """The number, in the base unit of `unit`: bytes, seconds, FLOP, tokens. Counts are whole (int)."""
    unit: str
    """bytes | s | FLOP | FLOP/s | FLOP/token | tokens | tokens/s | parameters | nats/token | bits/byte | "" for a ratio ..."""
    formula: str = ""
    """Arithmetic over the names of `inputs`; empty for a plain sum of `terms` and for a given number."""
    inputs: Mapping[str, Quantity | float] = field(default_factory=dict)
    """The symbols of the formula. An assumed constant is a Quantity here too, so that it shows in the tree."""
    source: str = ""
    """A key of `sources.BIBLIOGRAPHY`, or a sentence: `assumption: ...`, `measured: ...`, `definition`, `given`."""
    terms: tuple[Quantity, ...] = ()
    """The summands, when the value is their sum."""

    def explain(self, depth: int | None = None) -> str:
        """The tree behind the number: formula, the same with values put in, source, then each term and input likewise."""
        return "\n".join(_Explainer().lines(self, "", depth))

    def walk(self) -> Iterator[Quantity]:
        """This quantity and everything below it, terms before inputs. A quantity used twice comes twice."""
        yield self
        for child in self.children():
            yield from child.walk()

    def children(self) -> tuple[Quantity, ...]:
        """Terms, then those inputs that are quantities."""
        return self.terms + tuple(each for each in self.inputs.values() if isinstance(each, Quantity))

    def term(self, name: str) -> Quantity:
        """The summand of that name; asking for one that is not there is a programming error."""
        return next(each for each in self.terms if each.name == name)

    def __float__(self) -> float:
        return float(self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A value and the range it is expected in."""

    low: Quantity
    mid: Quantity
    high: Quantity


def total(name: str, terms: Iterable[Quantity], *, unit: str = "", source: str = "definition") -> Quantity:
    """The sum of the terms, which stay visible below it. All must have one unit; `unit` serves an empty sum."""
    parts = tuple(terms)
    units = {each.unit for each in parts} or {unit}
    assert len(units) == 1, f"{name}: cannot add {sorted(units)}"
    return Quantity(name=name, value=sum(each.value for each in parts), unit=units.pop(), source=source, terms=parts)


def derived(
    name: str, value: float, unit: str, formula: str, source: str = "definition", /, **inputs: Quantity | float
) -> Quantity:
    """A number computed by `formula` from `inputs`; `value` is that computation, done by the caller."""
    return Quantity(name=name, value=value, unit=unit, formula=formula, inputs=inputs, source=source)


def given(name: str, value: float, unit: str = "", source: str = "given") -> Quantity:
    """A number that was asked for, read from a table, or assumed: `source` says which."""
    return Quantity(name=name, value=value, unit=unit, source=source)


def substitute(formula: str, inputs: Mapping[str, Quantity | float]) -> str:
    """The formula with every symbol replaced by its value in base units."""

    def value_of(match: re.Match[str]) -> str:
        found = inputs.get(match[0])
        return match[0] if found is None else plain(found.value if isinstance(found, Quantity) else found)

    return _NAME.sub(value_of, formula)


def plain(value: float) -> str:
    """A number as one would type it: whole numbers in full, others to six digits."""
    whole = isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15)
    return str(int(value)) if whole else f"{value:.6g}"


class _Explainer:
    """Writes one tree. What was written once is referred to: a quantity as `explained above`, a work by authors and year."""

    def __init__(self) -> None:
        self.quantities: set[int] = set()
        self.works: set[str] = set()

    def lines(self, quantity: Quantity, indent: str, depth: int | None) -> Iterator[str]:
        """`indent` is drawn before all lines but the first, which the caller has indented."""
        headline = f"{quantity.name} = {format_value(quantity.value, quantity.unit)}"
        if id(quantity) in self.quantities:
            yield headline + (" (explained above)" if quantity.children() or quantity.formula else "")
            return
        self.quantities.add(id(quantity))
        yield headline
        if quantity.formula:
            yield f"{indent}  = {quantity.formula}"
            if quantity.inputs:
                yield f"{indent}  = {substitute(quantity.formula, quantity.inputs)}"
        elif len(quantity.terms) > 1:
            yield f"{indent}  = " + " + ".join(format_value(each.value, each.unit) for each in quantity.terms)
        if quantity.source not in _SILENT:
            yield f"{indent}  from: {self._cite(quantity.source)}"
        symbols = {id(each): f"{symbol}: " for symbol, each in quantity.inputs.items() if isinstance(each, Quantity)}
        children = quantity.children() if depth is None or depth > 0 else ()
        for index, child in enumerate(children):
            last = index == len(children) - 1
            lines = self.lines(child, indent + ("   " if last else "|  "), None if depth is None else depth - 1)
            yield f"{indent}{'`- ' if last else '|- '}{symbols.get(id(child), '')}{next(lines)}"
            yield from lines

    def _cite(self, source: str) -> str:
        work = BIBLIOGRAPHY.get(source)
        if work is None:
            return source
        if source in self.works:
            return f"{work.authors} ({work.year})"
        self.works.add(source)
        return str(work)
