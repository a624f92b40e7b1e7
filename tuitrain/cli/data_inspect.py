"""`tuitrain data inspect`: what is in fine-tuning data, what is wrong with it, and which tokens would be trained."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tuitrain.config.resolved import Resolved

_STYLES = {
    "trained": "\x1b[30;42m", "special-trained": "\x1b[30;46m", "ignored": "\x1b[2m", "special-ignored": "\x1b[2;36m",
    "pad": "\x1b[2;90m", "truncated": "\x1b[9;31m",
}  # fmt: skip
_RESET = "\x1b[0m"
_MARKS = {"trained": ("[", "]"), "special-trained": ("[", "]"), "truncated": ("~", "~")}
"""Where there is no colour, what is trained stands in brackets."""


def inspect(
    source: Annotated[
        Path | None,
        typer.Argument(help="A configuration (TOML), or a file or folder of examples. Without one: the embedded pairs."),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", show_default=False)] = None,
    base: Annotated[
        str | None, typer.Option(help="Model whose tokenizer and template count. Default: smollm2-135m-instruct.")
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            "--eval", help="Evaluation text to look for in the training data: .txt (a line each), .jsonl. Repeatable."
        ),
    ] = None,
    shown: Annotated[int, typer.Option("--show", min=0, help="Examples shown token by token.")] = 1,
    html: Annotated[Path | None, typer.Option(help="Write the whole report as one HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> int:
    """Count, find duplicates and contamination, show every token trained or ignored. Exit code 2: a run would be blocked."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.cli.output import show_json
    from tuitrain.errors import EXIT_OK, EXIT_USAGE
    from tuitrain.files import write_atomic

    report = _report(source, list(overrides or []), base, evaluation or [], shown)
    blocked = any(each["severity"] == "block" for each in report["findings"])
    if html is not None:
        from tuitrain.data.inspect.html import to_html

        write_atomic(html.expanduser(), to_html(report))
        say(f"wrote {html}")
    if as_json:
        show_json(report)
    else:
        _print(report)
    return EXIT_USAGE if blocked else EXIT_OK


def _report(source: Path | None, overrides: list[str], base: str | None, evaluation: list[Path], shown: int) -> dict[str, Any]:
    from tuitrain.cli.progress import Bar
    from tuitrain.data.chat.loading import fit_seq_len, make_loader, prepare_for
    from tuitrain.data.inspect.build import build_report
    from tuitrain.runs.base_model import BaseModel
    from tuitrain.runs.home import cache_dir

    resolved = _resolved(source, overrides, base)
    folder = Path(str(resolved.config.model.base))
    context = BaseModel(name="", folder=folder, origin="").context
    with Bar(sys.stderr) as bar:
        prepared = prepare_for(
            resolved, cache_dir=cache_dir(), progress=lambda now: bar.update(f"{now.phase} {now.detail}", now.done_frac)
        )
    resolved = fit_seq_len(resolved, prepared, context)
    loader = make_loader(resolved, prepared)
    return build_report(prepared, loader, resolved.config, context=context, evaluation=_evaluation(evaluation), shown=shown)


def _resolved(source: Path | None, overrides: list[str], base: str | None) -> Resolved:
    """The configuration of a TOML file, or one made for a file of examples: sft, or dpo where it holds pairs."""
    from tuitrain.cli.diagnostics import say
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.machine import this_machine

    if source is not None and "=" in str(source):  # only overrides were given
        overrides, source = [str(source), *overrides], None
    if base is not None:
        overrides = [*overrides, f"model.base={base}"]
    if source is not None and source.suffix == ".toml":
        return resolve(load_config(source, overrides), this_machine(), say)
    if not any(each.startswith("model.base=") for each in overrides):
        overrides = ["model.base=smollm2-135m-instruct", *overrides]
    if source is not None:
        overrides = [f'data.sources=[{{path="{source.expanduser().resolve()}"}}]', *overrides]
    if not any(each.startswith("run.stage=") for each in overrides):
        overrides = [f"run.stage={_stage_of(source)}", *overrides]
    return resolve(load_config(None, overrides), this_machine(), say)


def _stage_of(source: Path | None) -> str:
    if source is None:
        return "sft"
    from tuitrain.config.schema import SourceSection
    from tuitrain.data.chat.examples import Example
    from tuitrain.data.chat.read import read_items

    items = read_items(SourceSection(path=source.expanduser().resolve()), system_prompt=None, on_bad=lambda row: None)
    first = next(iter(items), None)
    return "sft" if first is None or isinstance(first, Example) else "dpo"


def _evaluation(files: list[Path]) -> list[tuple[str, str]]:
    """(where, text) of evaluation files: lines of text, or every string of JSON lines."""
    import json

    from tuitrain.errors import UsageError

    found = []
    for file in files:
        try:
            lines = file.expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--eval {file}: {error}", "a text file, or JSON lines") from error
        for number, line in enumerate(lines, start=1):
            text = line
            if file.suffix in (".jsonl", ".ndjson"):
                try:
                    text = "\n".join(_strings(json.loads(line)))
                except ValueError:
                    continue
            if text.strip():
                found.append((f"{file.name}:{number}", text))
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _strings(each)]


def _print(report: dict[str, Any]) -> None:
    from tuitrain.cli.output import show, show_table

    show(report["title"])
    show()
    show_table(["", ""], [[str(name), str(value)] for name, value in report["facts"]])
    show()
    lengths = report["lengths"]
    show(
        f"tokens {lengths['tokens']:,}, {lengths['trained_tokens']:,} trained ({lengths['trained_share']:.0%}); "
        f"shortest {lengths['shortest']}, longest {lengths['longest']}"
    )
    most = max((each["count"] for each in lengths["bins"]), default=1)
    for each in lengths["bins"]:
        show(f"  {each['low']:>6} to {each['high']:<6} {'#' * -(-40 * each['count'] // most):<40} {each['count']}")
    orders = list(lengths["role_orders"].items())[:5]
    show("turns: " + "; ".join(f"{order} {count}" for order, count in orders))
    _print_languages(report["languages"])
    _print_overlap(report["duplicates"], report["contamination"])
    for bad in report["bad_rows"]:
        for row in bad["named"][:5]:
            show(f"bad row {row['where']}: {row['problem']}")
    show()
    show("findings")
    words = {"ok": "ok", "warn": "WARN", "block": "BLOCK"}
    for finding in report["findings"]:
        show(f"  {words[finding['severity']]:<6}{finding['check']}: {finding['message']}")
        if finding["where"]:
            show(f"        at {', '.join(finding['where'])}")
        if finding["fix"] and finding["severity"] != "ok":
            show(f"        fix: {finding['fix']}")
    for example in report["examples"]:
        show()
        show(f"{example['where']}: {example['note']}")
        _print_tokens(example["view"])


def _print_languages(languages: dict[str, Any]) -> None:
    from tuitrain.cli.output import show

    if languages.get("reason"):
        show(f"languages: not told - {languages['reason']}; {languages['install']}")
        return
    show("languages: " + ", ".join(f"{each['code']} {each['share']:.0%}" for each in languages["shares"][:6]))


def _print_overlap(duplicates: dict[str, Any], contamination: dict[str, Any]) -> None:
    from tuitrain.cli.output import show

    exact, near = len(duplicates["exact"]), len(duplicates["near"])
    show(f"copies: {exact} exact groups, {near} near ones, {duplicates['redundant']} redundant")
    for group in [*duplicates["exact"], *duplicates["near"]][:3]:
        show(f"  {group['similarity']:.0%} alike: {', '.join(group['where'])}: {group['sample']}")
    items = contamination["items"]
    touched = contamination["evaluated"] - contamination["clean"]
    show(f"contamination: {touched} of {contamination['evaluated']} of {contamination['against']} share text with training")
    for item in sorted(items, key=lambda each: -each["share"])[:3]:
        show(f"  {item['where']}: {item['share']:.0%} of its {item['n']}-grams, in {', '.join(item['places'])}")


def _print_tokens(view: dict[str, Any]) -> None:
    """Runs of one kind; colours where there is a terminal, brackets around what is trained elsewhere."""
    import os

    from tuitrain.cli.output import show, show_raw
    from tuitrain.text import clean

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    pieces = []
    for kind, spans in itertools.groupby(view["spans"], key=lambda span: span[1]):
        text = clean("".join(span[0] for span in spans))
        if colour:
            pieces.append("".join(f"{_STYLES[kind]}{line}{_RESET}" for line in text.splitlines(keepends=True)))
        else:
            before, after = _MARKS.get(kind, ("", ""))
            pieces.append(f"{before}{text}{after}")
    (show_raw if colour else show)("".join(pieces).rstrip("\n"))
