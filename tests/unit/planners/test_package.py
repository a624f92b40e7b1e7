"""The package as a whole: what it imports, what it exports, that its index of formulas is complete."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tuitrain_planners
from tuitrain_planners import BIBLIOGRAPHY

PLANNERS = Path(__file__).parents[3] / "planners"
PROBE = """
import sys
sys.path[:0] = sys.argv[1:]
import tuitrain_planners
if len(sys.argv) > 2:
    import intruder
print(*sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__", "tuitrain_planners"}))
"""


def loaded_beyond_the_standard_library(*path: str) -> list[str]:
    """Top-level modules a bare interpreter holds after importing the planner: no site-packages, no environment variables."""
    done = subprocess.run([sys.executable, "-S", "-I", "-c", PROBE, *path], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_planner_loads_the_standard_library_only() -> None:
    assert loaded_beyond_the_standard_library(str(PLANNERS)) == []


def test_the_import_test_can_fail(tmp_path: Path) -> None:
    (tmp_path / "intruder.py").write_text("")
    assert loaded_beyond_the_standard_library(str(PLANNERS), str(tmp_path)) == ["intruder"]


def test_all_lists_exactly_what_the_package_imports() -> None:
    tree = ast.parse((PLANNERS / "tuitrain_planners" / "__init__.py").read_text())
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(tuitrain_planners.__all__) == imported
    assert len(tuitrain_planners.__all__) == len(imported)
    for name in tuitrain_planners.__all__:
        assert getattr(tuitrain_planners, name) is not None


def test_the_index_of_formulas_cites_every_work_and_lists_every_module() -> None:
    index = (PLANNERS / "README.md").read_text()
    for source in BIBLIOGRAPHY.values():
        assert source.url in index, source.title
    for path in (PLANNERS / "tuitrain_planners").rglob("*.py"):
        if path.name != "__init__.py":
            assert f"`{path.relative_to(PLANNERS / 'tuitrain_planners').as_posix()}`" in index, path.name


def test_numbered_sources_are_cited_by_their_numbers() -> None:
    """Every [n] is a work of the list, every work has its [n], and a module of the row names the work it is cited for."""
    index, _, listed = (PLANNERS / "README.md").read_text().partition("\n## Sources\n")
    keys = {source.url: key for key, source in BIBLIOGRAPHY.items()}
    works = {int(number): keys[url] for number, url in re.findall(r"^(\d+)\. .*?(https?://\S+)$", listed, re.MULTILINE)}
    assert list(works) == list(range(1, len(BIBLIOGRAPHY) + 1))
    assert {int(number) for number in re.findall(r"\[(\d+)\]", index)} == set(works)
    for row in (line for line in index.splitlines() if line.startswith("| ")):
        paths = [PLANNERS / "tuitrain_planners" / name for name in re.findall(r"`([a-z0-9_/]+\.py)`", row)]
        code = "".join(path.read_text() for path in paths if path.exists())
        for number in re.findall(r"\[(\d+)\]", row):
            author = re.split(r"[ ,]", BIBLIOGRAPHY[works[int(number)]].authors)[0]
            assert works[int(number)] in code or author in code, (number, row)


def test_the_example_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(PLANNERS.parent)
    (code,) = re.findall(r"```python\n(.*?)```", (PLANNERS / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "gpt2 on NVIDIA A100" in printed
    assert "12 * 8192 * 50257" in printed


@pytest.mark.parametrize("key", sorted(BIBLIOGRAPHY))
def test_every_work_of_the_bibliography_is_used(key: str) -> None:
    code = "\n".join(path.read_text() for path in (PLANNERS / "tuitrain_planners").rglob("*.py") if path.name != "sources.py")
    assert f'"{key}"' in code
