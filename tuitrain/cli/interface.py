"""Opening the terminal interface - or, where there is no terminal to speak of, the same list as text."""

from __future__ import annotations

import os
import sys

from tuitrain.errors import EXIT_OK


def open_interface(*, ascii_only: bool = False, run_id: str | None = None) -> int:
    """Open the interface, on a run when one is given; returns the exit code. Training never hangs on it."""
    from tuitrain.tui.terminal import can_draw, wants_ascii

    ascii_only = ascii_only or wants_ascii() or os.environ.get("TUITRAIN_ASCII") == "1"
    if not can_draw((sys.stdin, sys.stdout, sys.stderr)):
        return _show_plain(ascii_only=ascii_only, run_id=run_id)
    # Textual takes 0.3-0.7 s to import: only what opens the interface pays for it.
    from tuitrain.cli.diagnostics import say
    from tuitrain.runs.home import runs_root
    from tuitrain.runs.store import RunStore
    from tuitrain.tui.app import TuitrainApp

    store = RunStore(runs_root())
    app = TuitrainApp(ascii_only=ascii_only, run_id=store.get(run_id).run_id if run_id else None, store=store)
    app.run()
    if app.exit_line:
        say(app.exit_line)
    return app.return_code or EXIT_OK


def _show_plain(*, ascii_only: bool, run_id: str | None) -> int:
    """What the first screen would show, as text."""
    import shutil
    import time

    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show
    from tuitrain.runs.home import runs_root
    from tuitrain.runs.store import RunStore
    from tuitrain.tui.render.glyphs import ASCII, UNICODE
    from tuitrain.tui.render.plain import dashboard, run_list
    from tuitrain.tui.render.summary import summarise
    from tuitrain.tui.render.view import RunView
    from tuitrain.tui.store import skim

    glyphs, width = ASCII if ascii_only else UNICODE, shutil.get_terminal_size((100, 40)).columns
    store, now_s = RunStore(runs_root()), time.time()
    if run_id is not None:
        run = store.get(run_id)
        view = RunView(
            run_id=run.run_id, state=run.fold(), now_s=now_s, glyphs=glyphs, liveness=run.liveness(), plan=run.plan()
        )
        show(dashboard(view, width=width, height=40))
        return EXIT_OK
    runs = [summarise(run.run_id, skim(run.events_dir), run.liveness()) for run in store.list()]
    if runs:
        show(run_list(runs, width=width, now_s=now_s, glyphs=glyphs))
    follow = "`tuitrain runs watch RUN --plain` follows a run as text"
    say(f"this is no terminal the interface can draw on; {follow}" if runs else "no runs yet; `tuitrain demo` makes one")
    return EXIT_OK
