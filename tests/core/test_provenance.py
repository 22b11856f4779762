"""Where a person comes from: true hashes, and nothing that was known gets lost."""

import hashlib
import json

from slotid_core.provenance import joined, provenance, with_provenance


def test_hashes_are_those_of_the_files(tmp_path):
    clip = tmp_path / "ann.mp4"
    clip.write_bytes(b"x" * 3_000_001)
    facts = provenance({}, {"people/ann.mp4": clip}, " Ann agreed on 1 May. ")
    (source,) = facts["sources"]
    assert source == {"name": "people/ann.mp4", "sha256": hashlib.sha256(clip.read_bytes()).hexdigest()}
    assert facts["consent"] == "Ann agreed on 1 May." and facts["made"].endswith("+00:00")
    json.dumps(facts)


def test_what_is_known_stays_and_new_sources_are_added_once(tmp_path):
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    made = with_provenance({"report": "good"}, {"1.png": first}, "agreed")
    again = with_provenance(made, {"other name.png": first, "2.png": second})
    assert again["report"] == "good"
    known, after = made["provenance"], again["provenance"]
    assert after["made"] == known["made"] and after["consent"] == "agreed"
    assert [source["name"] for source in after["sources"]] == ["1.png", "2.png"]
    assert len(made["provenance"]["sources"]) == 1  # the given facts are not changed


def test_a_file_that_says_something_odd_is_no_error():
    assert provenance({"provenance": "text"}, {})["sources"] == []
    for sources in (["text"], None, 5, "text"):
        assert provenance({"provenance": {"sources": sources}}, {})["sources"] == []
    odd = {"provenance": {"sources": [{"sha256": [1]}], "consent": None}}
    assert provenance(odd, {})["sources"] == [{"sha256": [1]}] and joined([odd, odd])
    assert len(provenance({}, {}, "x" * 100_000)["consent"]) == 4000


def test_who_is_made_of_two_has_the_sources_and_notes_of_both(tmp_path):
    clips = [tmp_path / f"{name}.mp4" for name in ("ann", "bob", "both")]
    for clip in clips:
        clip.write_text(clip.stem)
    ann, bob = (
        with_provenance({}, {clip.name: clip, "both.mp4": clips[2]}, f"{clip.stem} agreed") for clip in clips[:2]
    )
    facts = provenance(joined([ann, bob, {}]), {})
    assert [source["name"] for source in facts["sources"]] == ["ann.mp4", "both.mp4", "bob.mp4"]
    assert facts["consent"] == "ann agreed\nbob agreed" and facts["made"]
    assert joined([{}, {"report": "good"}]) == {}
