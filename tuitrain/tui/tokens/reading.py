"""Reading the examples of a run again, in a thread: as the trainer read them, from the run's own resolved configuration.

What was tokenised before comes from the cache. The base's weights are not touched. Must not import torch or Textual's widgets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tuitrain.errors import TuitrainError, UsageError
from tuitrain.files import read_json
from tuitrain.runs.store import Run
from tuitrain.text import clean_line
from tuitrain.tui.messages import ExamplesNews
from tuitrain.tui.tokens.examples import Examples

Post = Callable[[ExamplesNews], object]
PAGE = "examples.html"
"""Where the report is written, in the run's folder."""


class _LeftError(Exception):
    """Nobody looks any more."""


def read_and_count(run: Run, post: Post, left: threading.Event) -> None:
    """Read the examples, tell; count copies, leaks, languages, tell. Errors are told too, and raised again."""

    def say(text: str) -> None:
        if left.is_set():
            raise _LeftError
        post(ExamplesNews(run.path, said=text))

    try:
        say("reading the examples")
        examples = read_examples(run, say)
        post(ExamplesNews(run.path, examples=examples))
        say("counting copies, leaks and languages")
        report = examples.report
        post(ExamplesNews(run.path, report=report))
    except _LeftError:
        return
    except Exception as error:  # the thread's boundary: the screen says it, and whoever runs the thread shows it whole
        reason = error.message if isinstance(error, TuitrainError) else f"{type(error).__name__}: {error}"
        post(ExamplesNews(run.path, failed=clean_line(reason)))
        raise


def read_examples(run: Run, say: Callable[[str], None]) -> Examples:
    """The examples of a run's resolved configuration."""
    # pydantic and the tokenizers' library come with these: 0.5 s that the first frame must not wait for
    from tuitrain.config.resolved import load_resolved
    from tuitrain.data.chat.loading import fit_seq_len, make_loader, prepare_for
    from tuitrain.data.progress import Progress
    from tuitrain.runs.base_model import BaseModel
    from tuitrain.runs.home import cache_dir

    resolved = load_resolved(run.path)
    folder = Path(str(resolved.config.model.base))
    if not folder.is_dir():
        raise UsageError(
            f"the base this run was made with is gone: {folder}",
            "its tokenizer is needed; `tuitrain train` with the same base makes it again",
        )

    def listen(now: Progress) -> None:
        done = "" if now.done_frac is None else f" ({now.done_frac:.0%})"
        say(f"{'reading' if now.phase == 'scan' else now.phase} {now.detail}{done}")

    prepared = prepare_for(resolved, cache_dir=cache_dir(), progress=listen)
    context = BaseModel(name="", folder=folder, origin="").context
    resolved = fit_seq_len(resolved, prepared, context)
    trained_on = _trained_on(run)
    return Examples(
        prepared=prepared, loader=make_loader(resolved, prepared), config=resolved.config, context=context,
        changed=bool(trained_on) and trained_on != prepared.content_hash,
    )  # fmt: skip


def _trained_on(run: Run) -> str:
    """Hash of the data that the newest checkpoint was trained on; empty before the first."""
    folder = run.model_dir()
    raw = read_json(folder / "trainer.json") if folder is not None else None
    return str(raw.get("data_hash") or "") if isinstance(raw, dict) else ""
