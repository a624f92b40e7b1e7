"""What the masks say about the data, in words: a finding for each kind of trouble, and one that says what was seen when all is
well. Severity and fix of each kind stand here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuitrain.data.chat.findings import Finding, Severity

if TYPE_CHECKING:
    from tuitrain.data.chat.preparation import PreparedExamples

_KINDS: Final[dict[str, tuple[str, Severity, str, str]]] = {
    "nothing-trained": (
        "mask", "block", "{count} examples have no trained token: their loss would be 0 and teach nothing",
        "look at them with `tuitrain data inspect`; data.chat_template=chatml if the template never shows the answer",
    ),
    "hidden": (
        "mask", "block", "in {count} examples the template does not show the answer it was given: it would not be learnt",
        "data.chat_template=chatml, or a template that shows an answer that is plain text",
    ),
    "end-not-trained": (
        "end token", "block",
        "in {count} examples no answer ends in a token at which generation stops ({ends}): the model would never stop",
        "data.chat_template=chatml, or put the end-of-turn token into eos_token_id of generation_config.json",
    ),
    "no-end": (
        "end token", "block", "the tokenizer names no end-of-text token, so {count} completions have no end to learn",
        "put eos_token into the base's tokenizer_config.json",
    ),
    "double-bos": (
        "template", "block", "{count} examples begin with {bos} twice: once from the text, once from the template or tokenizer",
        "take it out of the data, or give the template without it: data.chat_template=FILE.jinja",
    ),
    "not-prefix": (
        "template", "block",
        "in {count} examples the answer does not follow the prompt that serving would send: training and serving would differ",
        "data.chat_template=chatml, or a template whose generation prompt is how it renders an answer's beginning",
    ),
    "split": (
        "template", "warn",
        "the template rewrites earlier turns, so conversations became {count} examples, one per answer, each with the prompt "
        "serving would send", "",
    ),
    "border": (
        "template", "warn",
        "in {count} examples a token reaches from the prompt into the answer: serving will cut it there, training did not", "",
    ),
    "no-template": (
        "template", "block", "{count} conversations, and the base has no chat template: roles would be lost",
        "data.chat_template=chatml, or a .jinja file; or give prompt and completion as plain text",
    ),
}  # fmt: skip


def mask_findings(prepared: PreparedExamples) -> list[Finding]:
    """Blocking ones first."""
    counter, encoder = prepared.counter, prepared.encoder
    ends = ", ".join(encoder.token(each) for each in sorted(encoder.end_ids)) or "none"
    words = {"ends": ends, "bos": encoder.special.get("bos_token", "")}
    found = []
    for kind, (check, severity, message, fix) in _KINDS.items():
        if count := counter.count(kind):
            text = message.format(count=count, **words)
            found.append(
                Finding(check=check, severity=severity, message=text, fix=fix, where=counter.places(kind), count=count)
            )
    for kind in counter.kinds():
        if kind.startswith("refused: "):
            count = counter.count(kind)
            message = f"{count} examples left out: {kind.removeprefix('refused: ')}"
            all_gone = not len(prepared.train)
            fix = "change the data, or the template: data.chat_template"
            found.append(
                Finding(
                    check="template",
                    severity="block" if all_gone else "warn",
                    message=message,
                    fix=fix,
                    where=counter.places(kind),
                    count=count,
                )
            )
    if not any(each.check == "mask" for each in found):
        trained, tokens = prepared.train.num_trained, prepared.train.num_tokens
        share = trained / tokens if tokens else 0.0
        message = f"{trained:,} of {tokens:,} tokens are trained ({share:.0%}): the answers and the tokens that end them"
        found.append(Finding(check="mask", severity="ok", message=message, count=len(prepared.train)))
    if not any(each.check == "end token" for each in found):
        pad = " - pad is the same token: padding is left out by position, so ends stay trained" * (
            encoder.pad_id is not None and encoder.pad_id in encoder.end_ids
        )
        found.append(Finding(check="end token", severity="ok", message=f"every answer ends in one of {ends}{pad}"))
    if not any(each.check == "template" and each.severity == "block" for each in found) and encoder.template is not None:
        way = "its own generation marks" if encoder.template.has_marks else "the prompt that serving would send"
        message = f"{encoder.template.origin}: masks from {way}"
        found.append(Finding(check="template", severity="ok", message=message))
    return sorted(found, key=lambda each: ("block", "warn", "ok").index(each.severity))
