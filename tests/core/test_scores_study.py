"""The toy world's section of docs/scores.md says what its figures say, and no more."""

from studies.scores.drawn_page import BEGIN, END, section, with_section

JUDGE = {"base": 0.0, "stranger": 0.05, "ours": 0.5, "ground_truth": 0.9}


def figures(**videos) -> dict[str, float]:
    found = {
        "people": 4,
        "rank_correlation": 1.0,
        "recogniser.auc": 1,
        "recogniser.same": 0.9,
        "recogniser.different": 0,
    }
    for row, value in JUDGE.items():
        for of, mean in (("judge", value), ("videos", videos.get(row, value))):
            found |= {f"{of}.{row}": mean, f"{of}.{row}.low": mean - 0.1, f"{of}.{row}.high": mean + 0.1}
        found |= {f"detected.{row}": 1.0, f"face_frechet.{row}": 0.1}
    return found


def test_another_order_and_rows_too_close_to_order_are_said():
    text = section(figures())
    assert "the order is the same" in text and "intervals of base and stranger overlap" in text
    assert "**not** the same" in section(figures(ours=0.95))


def test_the_section_is_written_once():
    page = "# Page\n\n## Every figure\n"
    once = with_section(page, figures())
    assert once.index(BEGIN) < once.index(END) < once.index("## Every figure")
    twice = with_section(once, figures(ours=0.95))
    assert twice.count(BEGIN) == 1 and "**not** the same" in twice and "## Every figure" in twice
