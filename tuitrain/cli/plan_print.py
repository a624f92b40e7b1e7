"""How `tuitrain plan` prints: one screen, one number explained, JSON, Markdown or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuitrain.cli.plan_asked import Asked
    from tuitrain.cli.plan_fit import Layouts
    from tuitrain_planners import Plan


def print_plan(planned: Plan, asked: Asked, *, simulation: dict[str, Any] | None, fit: Layouts | None) -> None:
    """As text, or in the one form asked for. `fit`: the layouts the plan was chosen from."""
    from tuitrain.cli.output import show, show_json
    from tuitrain.errors import UsageError
    from tuitrain_planners import figures, to_dict, to_html, to_markdown, to_text

    if asked.explain is not None:
        known = figures(planned)
        if asked.explain == "all":
            show("\n".join(known))
        elif asked.explain in known:
            show(known[asked.explain].explain())
        else:
            import difflib

            near = difflib.get_close_matches(asked.explain, known, n=3, cutoff=0.3)
            raise UsageError(
                f"no number {asked.explain!r} in a plan",
                f"did you mean {' or '.join(near)}?" if near else "--explain all lists them",
            )
    elif asked.as_json:
        more = {} if simulation is None else {"simulation": simulation}
        show_json({**to_dict(planned), **more, **({} if fit is None else {"fit": fit.to_dict()})})
    elif asked.html:
        show(to_html(planned))
    elif asked.markdown:
        show(to_markdown(planned))
    else:
        if fit is not None:
            fit.show_best()
        show(to_text(planned))
        if fit is not None:
            fit.show_rejected()
        if simulation is not None:
            from tuitrain.cli.plan_simulate import show_simulation
            from tuitrain.cli.plan_simulate_stages import show_stages

            (show_stages if "stages" in simulation else show_simulation)(simulation)
