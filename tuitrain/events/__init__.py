"""The event log: the only thing a trainer tells the world. It appends, everything else reads.

Must not import torch, Textual or Typer.
"""

from tuitrain.events.fold import RankState, RunState, fold
from tuitrain.events.reader import EventReader, RunReader, read_events
from tuitrain.events.schema import ENDED, KINDS, SUPERVISOR_RANK, VERSION, Event, decode_line, decode_number, encode_line
from tuitrain.events.series import Columns
from tuitrain.events.writer import EventWriter

__all__ = [
    "ENDED",
    "KINDS",
    "SUPERVISOR_RANK",
    "VERSION",
    "Columns",
    "Event",
    "EventReader",
    "EventWriter",
    "RankState",
    "RunReader",
    "RunState",
    "decode_line",
    "decode_number",
    "encode_line",
    "fold",
    "read_events",
]
