"""The page: well-formed, complete, self-contained, and nothing in a name becomes markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from tuitrain_planners import Mesh, PlanRequest, figures, plan, to_html

VOID = {"meta", "!doctype"}


class Balanced(HTMLParser):
    """Fails on a closing tag that closes nothing; keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_every_number_and_stage_is_on_the_page(gpu_request: PlanRequest) -> None:
    made = plan(replace(gpu_request, mesh=Mesh(dp=8), zero=2))
    text = parsed(to_html(made)).text
    for name in figures(made):
        assert name in text
    for stage in range(4):
        assert f"ZeRO {stage}" in text
    assert all(phase.name in text for phase in made.memory.step.phases)


def test_nothing_is_loaded_and_nothing_runs(gpu_request: PlanRequest) -> None:
    page = to_html(plan(gpu_request))
    assert not re.search(r"<script|<link|<img|src=|@import|url[(]", page)


def test_a_name_is_text(gpu_request: PlanRequest) -> None:
    shape = replace(gpu_request.shape, name="<b>&x")
    page = to_html(plan(replace(gpu_request, shape=shape)))
    assert "<b>" not in page
    assert "<b>&x" in parsed(page).text


def test_bars_never_leave_the_page(gpu_request: PlanRequest) -> None:
    page = to_html(plan(replace(gpu_request, micro_batch=512)))
    for bar in re.findall(r'<div class="bar">(.*?)</div>', page):
        assert sum(float(width) for width in re.findall(r"width:([\d.]+)%", bar)) <= 100.01
