"""The processes of a run for a program to read: what each takes, who waits for whom. Nothing measured is null."""

from __future__ import annotations

from typing import Any

from tuitrain.events import RunState


def planned_peak_bytes(state: RunState) -> float | None:
    """Planned peak of a device, the fullest; None when the plan says nothing."""
    planned = state.plan.get("peak_bytes")
    return planned if isinstance(planned, (int, float)) else None


def rank_facts(state: RunState) -> list[dict[str, Any]]:
    """One entry per process of the newest attempt, by rank."""
    skew = state.skew
    waits, caused, late = (skew.wait_frac, skew.caused_frac, skew.late_count) if skew is not None else ({}, {}, {})
    return [
        {
            "rank": rank.rank,
            "pid": rank.pid,
            "host": rank.host or None,
            "step": rank.step,
            "memory_bytes": rank.memory_bytes,
            "peak_bytes": rank.peak_bytes,
            "planned_peak_bytes": planned_peak_bytes(state),
            "step_s": rank.step_s,
            "data_s": rank.data_s,
            "waiting_frac": waits.get(rank.rank),
            "waited_for_frac": caused.get(rank.rank),
            "late_count": late.get(rank.rank),
            "communicating_frac": rank.communicating_frac(state.begin_ns),
            "error": state.trouble_of(rank) or None,
        }
        for rank in state.present_ranks
    ]


def skew_facts(state: RunState) -> dict[str, Any] | None:
    """Who the others wait for; None while no step was traced, and with one process. No rank is named where none stands out."""
    skew = state.skew
    if skew is None:
        return None
    return {
        "traced_steps": skew.steps,
        "slowest_rank": skew.slowest if skew.notable else None,
        "most_waited_for_rank": skew.slowest,
        "waited_for_frac": skew.caused_frac[skew.slowest],
        "longest_in_steps": skew.worst_count[skew.slowest],
    }
