"""The blinded study: nothing on the page tells whose a video is, and grades come back as mean opinion scores."""

import json

import pytest
from likeness_clips import ANN, BOB, drawn, write_frames

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.likeness.study_kit import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    for name, seed in (("ann", ANN), ("bob", BOB)):
        write_frames(base / "people" / f"{name}.mp4", drawn(seed, 8, 5))
        for row in ("ours", "theirs"):
            write_frames(base / row / f"{name}_1.mp4", drawn(seed, 3 if row == "ours" else 4, 5))
    arguments = ["study-make", "--references", str(base / "people"), "--folder", str(base / "kit")]
    main([*arguments, "--videos", str(base / "ours"), "--videos", str(base / "theirs")])
    return base


def test_the_page_is_blind(study):
    text = (study / "kit" / "page" / "index.html").read_text()
    names = [path.name for path in (study / "kit" / "page").iterdir()]
    for word in ("ours", "theirs", "ann_1", "bob_1"):
        assert word not in text and not any(word in name for name in names)
    assert len(names) == 1 + 4 + 2 and all(name in text for name in names if name != "index.html")


def grades(study, rater: str, ours: int, theirs: int) -> dict:
    key = json.loads((study / "kit" / "key.json").read_text())
    given = {"ours": ours, "theirs": theirs}
    return {
        "study": key["study"],
        "rater": rater,
        "grades": {name: {"face_similarity": given[video["row"]]} for name, video in key["videos"].items()},
    }


def test_grades_become_mean_opinion_scores(study, tmp_path):
    for rater, ours, theirs in (("a", 5, 2), ("b", 4, 2)):
        (tmp_path / f"{rater}.json").write_text(json.dumps(grades(study, rater, ours, theirs)))
    key, files = study / "kit" / "key.json", [tmp_path / "a.json", tmp_path / "b.json"]
    main(["study-read", "--key", str(key), *map(str, files), "--json", str(tmp_path / "mos.json")])
    figures = json.loads((tmp_path / "mos.json").read_text())
    assert figures["ours.face_similarity"] == 4.5 and figures["theirs.face_similarity"] == 2
    assert figures["ours.face_similarity.low"] <= 4.5 <= figures["ours.face_similarity.high"]
    assert figures["raters"] == 2 and figures["ours.face_similarity.grades"] == 4
    with pytest.raises(SlotIDError, match="'a' is there twice"):
        read_study(key, [files[0], files[0]])
    for change, message in (({"study": "x"}, "another study"), ({"grades": {"x.mp4": {}}}, "no video of the study")):
        (tmp_path / "bad.json").write_text(json.dumps(grades(study, "c", 1, 1) | change))
        with pytest.raises(SlotIDError, match=message):
            read_study(key, [tmp_path / "bad.json"])
    (tmp_path / "bad.json").write_text(json.dumps(grades(study, "c", 6, 1)))
    with pytest.raises(SlotIDError, match="it must be 1 to 5"):
        read_study(key, [tmp_path / "bad.json"])
