"""The event log: the only thing a trainer tells the world. It appends, everything else reads.

Must not import torch, Textual or Typer.
"""

from tuitrain.events.fold import RunState, fold
from tuitrain.events.ranks import RankState, Skew, TracedStep, Traces
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
    "Skew",
    "TracedStep",
    "Traces",
    "decode_line",
    "decode_number",
    "encode_line",
    "fold",
    "read_events",
]
