"""Where a person comes from: true hashes, and nothing that was known gets lost."""

import hashlib
import json

from slotid_core.provenance import provenance, with_provenance


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
    assert provenance({"provenance": {"sources": ["text"]}}, {})["sources"] == []
    assert len(provenance({}, {}, "x" * 100_000)["consent"]) == 4000
