"""Documents point at files, headings and functions that exist."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {".venv", ".comfyui", ".cache", ".git", ".pytest_cache", "node_modules", "output"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def anchors(path: Path) -> set[str]:
    """Names by which a page's headings are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    wrong = []
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong, wrong


def test_ten_questions_have_a_file_and_a_name_that_exist():
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Ten questions")[1]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 10
    for question, *answer in rows:
        named = re.findall(r"`([^`]+)`", "".join(answer))
        files = [name for name in named if name.endswith(".py")]
        text = "".join((ROOT / name).read_text(encoding="utf-8") for name in files)
        text += "".join(
            path.read_text(encoding="utf-8")
            for name in named
            if name.endswith("/")
            for path in sorted((ROOT / name).glob("*.py"))
        )
        assert files and text, question
        for name in named:
            if "/" not in name:
                defined = rf"^ *(def|class) {name.split('.')[-1]}\b|^{name}\b.* = "
                assert re.search(defined, text, re.MULTILINE), f"{question.strip()} names {name}"
