"""Memory of one device as a stacked bar: who takes how much, where the device ends, how sure that is.

Every segment is a letter on its own colour, so the bar reads without colour and in ASCII too.
"""

from __future__ import annotations

from typing import Final

from tuitrain.tui.render.format import size
from tuitrain.tui.render.glyphs import Glyphs
from tuitrain.tui.render.marked import Marked, Part, row_of
from tuitrain.tui.render.spans import Line, fit
from tuitrain_planners import DeviceMemory

LETTERS: Final = {
    "weights": "W", "gradients": "G", "optimizer": "O", "gathered": "C", "activations": "A", "head": "H", "buffers": "B",
    "runtime": "R", "reserve": "x",
}  # fmt: skip
"""Letter of each group in the bar. reserve: what allocator and driver take beside what is counted."""
WORDS: Final = {"fits": "FITS", "tight": "TIGHT", "oom": "OUT OF MEMORY"}
STYLES: Final = {"fits": "good", "tight": "alert", "oom": "mark.guard"}
_DEVICE: Final = "memory.device_bytes"
UNSEEN_FRAC: Final = 1e-3
"""Of the device; a group smaller than that has no cell in any bar, and no place in the legend."""
_NAMES: Final = {"gathered": "gathered copies", "head": "logits + loss", "reserve": "allocator + driver"}


def groups_of(memory: DeviceMemory) -> dict[str, float]:
    """Bytes by group in the peak phase; together the middle of the device's band."""
    peak = memory.step.peak_phase
    found = {each.name: each.value for each in peak.terms if each.value > 0}
    rest = memory.device_bytes.mid.value - peak.value
    return found | ({"reserve": rest} if rest > 0 else {})


def verdict_part(memory: DeviceMemory, glyphs: Glyphs) -> Part:
    """Mark, word and colour."""
    mark = {"fits": glyphs.finished, "tight": glyphs.up, "oom": glyphs.failed}[memory.verdict]
    return Part(f"{mark} {WORDS[memory.verdict]}", STYLES[memory.verdict], _DEVICE)


def memory_block(memory: DeviceMemory, width: int, glyphs: Glyphs) -> Marked:
    """Verdict, bar, scale, legend."""
    block = verdict_line(memory, width, glyphs)
    cells_per_byte = width / max(memory.capacity_bytes, memory.device_bytes.high.value)
    block.add(_bar(memory, width, cells_per_byte, glyphs))
    block.lines.append(_scale(memory, width, cells_per_byte, glyphs))
    _legend(block, memory, width, glyphs)
    return block


def verdict_line(memory: DeviceMemory, width: int, glyphs: Glyphs) -> Marked:
    """Whether it fits, how much of what, and between which ends."""
    block = Marked()
    band = memory.device_bytes
    amount = [Part(size(band.mid.value), "value.big", _DEVICE), Part(f" of {size(memory.capacity_bytes)}", "value")]
    spread = [
        Part(size(band.low.value), "dim", f"{_DEVICE}.low"),
        Part(f" {glyphs.dash} ", "dim"),
        Part(size(band.high.value), "dim", f"{_DEVICE}.high"),
    ]
    block.add(row_of("", [[verdict_part(memory, glyphs)], amount, spread], width, 0, glyphs.separator))
    return block


def _bar(memory: DeviceMemory, width: int, cells_per_byte: float, glyphs: Glyphs) -> list[Part]:
    """Segments from the left; what is free after them; what lies beyond the device."""
    parts, at, summed = [], 0, 0.0
    for name, value in groups_of(memory).items():
        summed += value
        end = min(width, round(summed * cells_per_byte))
        if end > at:
            figure = _DEVICE if name == "reserve" else f"memory.peak.{name}"
            parts.append(Part(LETTERS[name] * (end - at), f"mem.{name}", figure))
            at = end
    edge = min(width, round(memory.capacity_bytes * cells_per_byte))
    if edge > at:
        parts.append(Part(glyphs.bar_empty * (edge - at), "bar.rest"))
        at = edge
    return [*parts, Part(" " * (width - at))]


def _scale(memory: DeviceMemory, width: int, cells_per_byte: float, glyphs: Glyphs) -> Line:
    """Below the bar: the band of what is expected, and where the device ends."""
    cells = [" "] * width
    band = memory.device_bytes
    low, mid, high = (
        min(width - 1, max(0, round(each.value * cells_per_byte) - 1)) for each in (band.low, band.mid, band.high)
    )
    cells[low : high + 1] = glyphs.across * (high + 1 - low)
    for place in (low, mid, high):
        cells[place] = glyphs.down
    edge = min(width - 1, max(0, round(memory.capacity_bytes * cells_per_byte) - 1))
    mark = glyphs.mark_checkpoint
    text = "".join(cells)
    label = f"{mark} device's end  {glyphs.down}{glyphs.across}{glyphs.down}{glyphs.across}{glyphs.down} low, middle, high"
    if len(label) + 2 <= min(low, edge):
        text = label + text[len(label) :]
    return fit(((text[:edge], "axis.label"), (mark, "alert"), (text[edge + 1 :], "axis.label")), width)


def _legend(block: Marked, memory: DeviceMemory, width: int, glyphs: Glyphs) -> None:
    """Letter, name and bytes of each group that can be seen, in as many lines as it takes."""
    row: list[Part] = []
    used = 0
    for name, value in groups_of(memory).items():
        if value < UNSEEN_FRAC * memory.capacity_bytes:
            continue
        figure = _DEVICE if name == "reserve" else f"memory.peak.{name}"
        entry = [
            Part(LETTERS[name], f"mem.{name}"),
            Part(f" {_NAMES.get(name, name)} ", "label"),
            Part(size(value), "value", figure),
        ]
        cells = sum(len(each.text) for each in entry)
        if row and used + 2 + cells > width:
            block.add(row)
            row, used = [], 0
        if row:
            row.append(Part("  "))
            used += 2
        row += entry
        used += cells
    block.add(row)
