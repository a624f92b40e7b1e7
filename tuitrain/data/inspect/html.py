"""What was found in the data as one page to send to someone: no script, nothing loaded from elsewhere, all text untrusted.

A report is plain data, so the command line, the interface and this page share it:

    {"title": str,
     "facts": [[name, value], ...],                    values are text or numbers
     "findings": [Finding.to_dict(), ...],             tuitrain.data.chat.findings
     "lengths": LengthReport.to_dict(),
     "languages": LanguageReport.to_dict(),
     "duplicates": DuplicateReport.to_dict(),
     "contamination": ContaminationReport.to_dict(),
     "examples": [{"where": str, "note": str, "view": TokenView.to_dict()}, ...],
     "serving": {"where": str, "note": str, "diff": TokenDiff.to_dict()}}

Only the title must be there; what is missing or null has no section, and `where` and `note` may be missing too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tuitrain.data.inspect import html_tokens
from tuitrain.data.inspect.markup import STYLE, histogram, number, percent, shown, table

_SEVERITY: Final = {"ok": "ok", "warn": "warning", "block": "blocks"}


def to_html(report: dict[str, Any]) -> str:
    """The page."""
    title = shown(report["title"])
    parts = [f"<h1>{title}</h1>"]
    for key, (heading, draw) in _SECTIONS.items():
        if report.get(key) is not None:
            parts.append((f"<h2>{heading}</h2>" if heading else "") + draw(report[key]))
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # should text ever get past `shown`, it still runs nothing
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _facts(facts: list[list[Any]]) -> str:
    lines = (f"<tr><th>{shown(name)}</th><td>{_value(value)}</td></tr>" for name, value in facts)
    return f"<table>{''.join(lines)}</table>"


def _value(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)


def _findings(findings: list[dict[str, Any]]) -> str:
    if not findings:
        return "<p>None.</p>"
    lines = []
    for each in findings:
        severity = each["severity"] if each["severity"] in _SEVERITY else "warn"
        fix = f"<br>Fix: {shown(each['fix'])}" if each.get("fix") else ""
        places = ", ".join(each.get("where") or ())
        count = f"<br>{number(int(each['count']))} examples" if each.get("count") else ""
        where = f"{count or '<br>In'}: {shown(places)}" if places else count
        lines.append(
            f'<tr><td class="{severity}">{_SEVERITY[severity]}</td><th>{shown(each["check"])}</th>'
            f"<td>{shown(each['message'])}{fix}{where}</td></tr>"
        )
    return f"<table>{''.join(lines)}</table>"


def _lengths(raw: dict[str, Any]) -> str:
    facts: list[list[Any]] = [
        ["examples", raw["examples"]],
        ["tokens", raw["tokens"]],
        ["trained tokens", f"{number(raw['trained_tokens'])} ({percent(raw['trained_share'])})"],
        ["shortest, longest", f"{number(raw['shortest'])}, {number(raw['longest'])}"],
        ["percentiles", ", ".join(f"{level} %: {number(length)}" for level, length in raw["percentiles"].items())],
    ]
    if raw["limit"] is not None:
        facts.append([f"longer than {raw['limit']}", raw["over_limit"]])
    orders = [*raw["role_orders"].items(), *([("other orders", raw["other_orders"])] if raw["other_orders"] else [])]
    turns = table(("turns", "examples"), ((str(turns), count) for turns, count in raw["turns"].items()))
    return _facts(facts) + histogram(raw["bins"], raw["limit"]) + table(("order of roles", "examples"), orders) + turns


def _languages(raw: dict[str, Any]) -> str:
    if raw["reason"]:
        return f"<p>{shown(raw['reason'])}. To have them told: <code>{shown(raw['install'])}</code></p>"
    rows = ((each["code"], each["texts"], percent(each["share"])) for each in raw["shares"])
    return table(("language", "texts", "share"), rows)


def _duplicates(raw: dict[str, Any]) -> str:
    exact = ((each["count"], ", ".join(each["where"]), each["sample"]) for each in raw["exact"])
    near = ((each["count"], f"{each['similarity']:.2f}", ", ".join(each["where"]), each["sample"]) for each in raw["near"])
    return (
        f"<p>{number(raw['redundant'])} of {number(raw['texts'])} texts are copies of another one.</p>"
        f"<h3>Groups of exact copies: {number(raw['exact_groups'])}</h3>{table(('copies', 'where', 'begins with'), exact)}"
        f"<h3>Groups of near copies, similarity {raw['threshold']:.2f} or more: {number(raw['near_groups'])}</h3>"
        + table(("copies", "similarity", "where", "begins with"), near)
    )


def _contamination(raw: dict[str, Any]) -> str:
    text = (
        f"<p>{number(raw['dirty'])} of {number(raw['evaluated'])} evaluation texts share runs of words with the "
        f"{number(raw['training_texts'])} training texts; {number(raw['mostly'])} share {percent(raw['mostly_share'])} of "
        "their runs or more.</p>"
    )
    rows = (
        (each["where"], percent(each["share"]), f"{each['found']} of {each['ngrams']}", each["n"], ", ".join(each["places"]))
        for each in raw["items"]
    )
    return text + table(("evaluation text", "share", "runs", "words in a run", "training text"), rows)


def _examples(examples: list[dict[str, Any]]) -> str:
    drawn = (f"<h3>{shown(each.get('where', ''))}</h3>{_note(each)}{html_tokens.view(each['view'])}" for each in examples)
    return html_tokens.LEGEND + "".join(drawn)


def _serving(raw: dict[str, Any]) -> str:
    where = f"<h3>{shown(raw['where'])}</h3>" if raw.get("where") else ""
    return where + _note(raw) + html_tokens.diff(raw["diff"])


def _note(raw: dict[str, Any]) -> str:
    return f"<p>{shown(raw['note'])}</p>" if raw.get("note") else ""


_SECTIONS: Final[dict[str, tuple[str, Callable[[Any], str]]]] = {
    "facts": ("", _facts),
    "findings": ("Findings", _findings),
    "lengths": ("Lengths", _lengths),
    "languages": ("Languages", _languages),
    "duplicates": ("Copies", _duplicates),
    "contamination": ("Evaluation text in the training text", _contamination),
    "examples": ("What the model sees", _examples),
    "serving": ("Serving beside training", _serving),
}
