"""Documents point at what exists, quote messages as they are, and count as the program counts."""

import ast
import os
import re
from pathlib import Path

import pytest

from slotid_core.wan import WAN_1_3B, WAN_14B, WanConfig

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


def test_the_readme_quotes_messages_as_they_are():
    said = [
        text for folder in ("nodes", "slotid_core") for path in (ROOT / folder).rglob("*.py") for text in texts(path)
    ]
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Troubleshooting")[1].split("\n## ")[0]
    quotes = [quote for line in section.splitlines() if "…" in line for quote in re.findall(r"`([^`]*…[^`]*)`", line)]
    assert len(quotes) > 8
    patterns = {quote: re.compile(".*".join(map(re.escape, quote.split("…")))) for quote in quotes}
    assert not [quote for quote, pattern in patterns.items() if not any(pattern.search(text) for text in said)]


def texts(path: Path):
    """Strings of a source file; where one fills something in, "…"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[sdg]", "…", node.value)


@pytest.mark.parametrize(
    ("name", "config", "video"),
    [
        ("Wan 14B", WAN_14B, (81, 480, 832)),
        ("Wan 1.3B", WAN_1_3B, (81, 480, 832)),
        ("toy world", WanConfig(dim=256, ffn_dim=1024, num_layers=5, num_heads=2), (17, 64, 64)),
    ],
)
def test_the_readmes_arithmetic(name, config, video):
    """Parameters, bytes of the weights, and the work of one pass, as the README says that they are computed."""
    d, ffn, layers, text = config.dim, config.ffn_dim, config.num_layers, config.text_dim
    matrices = layers * (8 * d * d + 2 * d * ffn)  # attention to video and to text, feed-forward
    vectors = layers * (8 * d + 4 * d + 2 * d + ffn + d + 6 * d)  # biases, norms, modulation
    outside = d * (64 + 1) + d * (text + 1) + d * (config.freq_dim + 1) + 2 * d * (d + 1) + 6 * d * (d + 1)
    parameters = matrices + vectors + outside + 64 * (d + 1) + 2 * d
    bf16, fp8 = 2 * parameters / 2**30, (2 * parameters - matrices) / 2**30
    tokens = ((video[0] + 3) // 4) * (video[1] // 16) * (video[2] // 16)
    weights = matrices - 2 * layers * d * d  # keys and values of the text are of no video token
    petaflop = (2 * tokens * weights + 4 * tokens**2 * d * layers) / 1e15
    digits = (2, 1) if parameters > 1e9 else (3, 2)
    work = "under 0.001" if petaflop < 1e-3 else f"{petaflop:.2g}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sizes = f"{parameters / 1e9:.{digits[0]}f} billion | {bf16:.{digits[1]}f} GiB | {fp8:.{digits[1]}f} GiB"
    assert f"| {name} | {sizes} | {work} PFLOP |" in readme
    if config is WAN_14B:
        assert parameters == 14_288_491_584  # as `--dry-run` counts the model itself
        video_of_50_steps = 50 * 3 * petaflop
        assert f"{video_of_50_steps:.0f} PFLOP: {1000 * video_of_50_steps / 100 / 60:.0f} minutes" in readme
