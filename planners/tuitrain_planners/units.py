"""Units: reading and writing counts, bytes, durations, FLOP and FLOP/s.

GB is 10^9 bytes and GiB 2^30; the two are 7.4 % apart and most planners mix them, so a bare "80G" is refused. FLOP is a count,
FLOP/s a rate. Everything inside the planner is in base units; this module stands at its edges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name

_COUNTS: Final = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BYTES: Final = {
    "": 1.0, "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40, "PiB": 2.0**50,
}  # fmt: skip
_SECONDS: Final = {
    "": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0, "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_PREFIXES: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24}
_FLOP: Final = {"": 1.0} | {p + unit: f for p, f in _PREFIXES.items() for unit in ("FLOP", "FLOPs")}
_FLOP_PER_S: Final = {"": 1.0} | {p + unit: f for p, f in _PREFIXES.items() for unit in ("FLOP/s", "FLOPs/s", "FLOPS")}

_NUMBER: Final = r"[+-]?(?:[0-9][0-9_,]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:[.eE].*)?")
"""Thousands between commas. Any other comma may be meant as a decimal point, and would be ten times off."""
_ONE: Final = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z/]*)\s*")


def parse_count(text: str | float) -> float:
    """A number of parameters, tokens or steps: 7e9, "7B", "1.4T", "512k", "1_000". Whole numbers come back as int."""
    return _whole(_parse(text, "count", {**_COUNTS, "k": 1e3}))


def parse_bytes(text: str | float) -> int:
    """Bytes: "80GB" is 80 * 10^9, "80GiB" is 80 * 2^30; a bare number is bytes."""
    if (
        isinstance(text, str)
        and (match := _ONE.fullmatch(text))
        and match[2] in ("k", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti")
    ):
        name = match[2].removesuffix("i")
        raise PlanError(
            f"{text!r} is ambiguous", f"write {match[1]}{name}B (powers of 1000) or {match[1]}{name.upper()}iB (powers of 1024)"
        )
    lower = {unit.lower(): factor for unit, factor in _BYTES.items()}
    return round(_parse(text, "unit of bytes", lower | _BYTES, _BYTES))


def parse_duration(text: str | float) -> float:
    """Seconds: 90, "90s", "15min", "1h 30m", "2.5 days". A bare number is seconds."""
    if not isinstance(text, str) or _ONE.fullmatch(text):
        return _parse(text, "unit of time", _SECONDS)
    parts = list(re.finditer(rf"({_NUMBER})\s*([A-Za-z]+)\s*", text.strip()))
    if not parts or "".join(part[0] for part in parts) != text.strip():
        raise PlanError(f"cannot read {text!r} as a duration", "write 90s, 15min, 1h30m or 2.5d")
    return sum(_parse(part[0], "unit of time", _SECONDS) for part in parts)


def parse_flop(text: str | float) -> float:
    """An amount of computation: 1e21, "1e21 FLOP", "3.2 ZFLOP"."""
    return _parse(text, "unit of FLOP", _FLOP)


def parse_flop_per_s(text: str | float) -> float:
    """A rate of computation: 989e12, "989 TFLOP/s", "989TFLOPS"."""
    return _parse(text, "unit of FLOP/s", _FLOP_PER_S)


def format_count(value: float) -> str:
    """Whole numbers below 10,000 in full, else three significant digits: 8192, 135M, 8.03B, 1.4T."""
    if abs(value) < 10_000:
        return str(int(value)) if float(value).is_integer() else f"{value:.4g}"
    return _scaled(value, {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}, "")


def format_bytes(value: float) -> str:
    """Powers of 1024, three or four digits: 512 bytes, 1.5 MiB, 11.74 GiB."""
    if abs(value) < 1024:
        return f"{value:.4g} bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        if abs(value) / _BYTES[unit] < 1000 or unit == "TiB":
            return f"{value / _BYTES[unit]:.4g} {unit}"
    raise AssertionError("unreachable")


def format_duration(value: float) -> str:
    """The two largest units that say something: 45 ms, 12.3 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    if abs(value) < 60:
        return f"{value * 1e3:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    for large, small, name, small_name in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if value >= large - small / 2:
            whole, rest = divmod(round(value / small), large // small)
            return f"{whole} {name} {rest} {small_name}" if rest else f"{whole} {name}"
    raise AssertionError("unreachable")


def format_flop(value: float, unit: str = "FLOP") -> str:
    """With an SI prefix: 51.47 GFLOP. `unit` may be FLOP/s or FLOP/token."""
    return _scaled(value, _PREFIXES, " ", digits=4) + unit


def format_value(value: float, unit: str) -> str:
    """A quantity's value for people, in the way its unit is usually written."""
    writer = _WRITERS.get(unit)
    if writer is not None:
        return writer(value)
    text = f"{value:.4g}"
    return f"{text} {unit}" if unit else text


def _parse(text: str | float, what: str, factors: Mapping[str, float], shown: Iterable[str] = ()) -> float:
    """Number times factor. `shown`: the units to offer when the unit is unknown; by default all of `factors`."""
    if not isinstance(text, str):
        if not isfinite(text):
            raise PlanError(f"{text} is no {what}", "write a number and a unit, such as 80GiB, 1.4T or 15min")
        return float(text)
    match = _ONE.fullmatch(text)
    if match is None:
        raise PlanError(
            f"cannot read {text!r} as a number with a {what}", "write a number and a unit, such as 80GiB, 1.4T or 15min"
        )
    if match[2] not in factors:
        raise unknown_name(what, match[2], (unit for unit in shown or factors if unit))
    if "," in match[1] and not _GROUPED.fullmatch(match[1]):
        raise PlanError(f"{text!r}: is its comma a decimal point?", "write 1.5 with a point, or 1,500,000 in groups of three")
    value = float(match[1].replace("_", "").replace(",", "")) * factors[match[2]]
    if not isfinite(value):
        raise PlanError(f"{text!r} is too large for a {what}", "write a number below 1e308")
    return value


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _scaled(value: float, factors: Mapping[str, float], space: str, digits: int = 3) -> str:
    """The value under the largest factor that leaves at least 1 before the point, after rounding."""
    name, factor = next(iter(factors.items()))
    for each, size in factors.items():
        if abs(value) >= size * (1 - 0.5 * 10.0**-digits):
            name, factor = each, size
    return f"{value / factor:.{digits}g}{space}{name}"


def _amount(value: float, unit: str, thousand: str, million: str) -> str:
    """Up to 10 000 of the unit as they are, more of them in thousands, then millions."""
    if value >= 10_000_000:
        return f"{value / 1e6:,.4g} {million}"
    if value >= 10_000:
        return f"{value / 1000:,.4g} {thousand}"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "USD": lambda value: f"${value:,.2f}" if value < 100 else f"${value:,.0f}" if value < 1e6 else f"${format_count(value)}",
    "kWh": lambda value: _amount(value, "kWh", "MWh", "GWh"),
    "kg": lambda value: _amount(value, "kg CO2e", "t CO2e", "kt CO2e"),
    "bytes": format_bytes,
    "s": format_duration,
    "FLOP": format_flop,
    "FLOP/s": lambda value: format_flop(value, "FLOP/s"),
    "FLOP/token": lambda value: format_flop(value, "FLOP/token"),
    "parameters": lambda value: f"{format_count(value)} parameters",
    "tokens": lambda value: f"{format_count(value)} tokens",
    "tokens/s": lambda value: f"{format_count(value)} tokens/s",
}
