"""Numbers for people. Missing ones are a dash; units are always written; nothing here rounds what is stored."""

from __future__ import annotations

import math

from tuitrain.runs.status import format_age

MISSING = "-"
_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def count(value: float) -> str:
    """'8,204'."""
    return f"{int(value):,}" if math.isfinite(value) else MISSING


def si(value: float, digits: int = 3) -> str:
    """'12.1k', '1.46M', '820': `digits` significant digits and a decimal prefix."""
    if not math.isfinite(value):
        return MISSING
    for factor, prefix in _SI:
        if abs(value) >= factor * (1 - 0.5 * 10**-digits):
            return _significant(value / factor, digits) + prefix
    return _significant(value, digits)


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-12))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: float) -> str:
    """A loss, norm or rate: '2.214', '0.83', '2.4e-4', '12.1k'."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    size = abs(value)
    if size >= 1e4:
        return si(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 1e-2:
        return f"{value:.3f}" if size < 10 else f"{value:.2f}"
    return exponent(value) if size else "0"


def exponent(value: float, digits: int = 2) -> str:
    """'2.4e-4'."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"


def size(value: float, digits: int = 3) -> str:
    """'61.2 GiB', '812 MiB'."""
    if not math.isfinite(value):
        return MISSING
    for factor, unit in _BINARY:
        if abs(value) >= factor:
            return f"{_significant(value / factor, digits)} {unit}"
    return f"{value:.0f} B"


def percent(frac: float, digits: int = 0) -> str:
    """'41%'."""
    return f"{100 * frac:.{digits}f}%" if math.isfinite(frac) else MISSING


def duration(seconds: float) -> str:
    """'42 s', '2 m 10 s', '1 h 52 m'."""
    return format_age(seconds) if math.isfinite(seconds) else MISSING


def age(seconds: float) -> str:
    """A duration in its largest unit: '42 s', '3 m', '5 h', '12 d'."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s" if math.isfinite(seconds) else MISSING


def rate(tokens_per_s: float) -> str:
    """'12.1k tok/s'."""
    return f"{si(tokens_per_s)} tok/s"


def relative(actual: float, planned: float) -> float:
    """(actual - planned) / planned; NaN when it means nothing."""
    if not (math.isfinite(actual) and math.isfinite(planned)) or planned == 0:
        return math.nan
    return (actual - planned) / abs(planned)


def signed_percent(frac: float) -> str:
    """'+12%', '-3%'."""
    return f"{100 * frac:+.0f}%" if math.isfinite(frac) else MISSING
