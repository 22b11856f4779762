"""No damaged file crashes or hangs the reader, and none gives anything but a valid clip or a clear error."""

import importlib.util

import pytest
from reference_fuzz import LONGEST, outcomes, write_originals


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    write_originals(folder)
    return folder


def check(found: list[dict], count: int) -> None:
    assert len(found) == count
    assert {line["result"] for line in found} <= {"valid clip", "clear error"}, found
    assert max(line["seconds"] for line in found) < LONGEST, max(found, key=lambda line: line["seconds"])


def test_a_few_damaged_files_of_every_container(folder):
    found = outcomes(folder, 0, 36)
    check(found, 36)
    assert {line["result"] for line in found} == {"valid clip", "clear error"}  # the damage is neither nothing nor all


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("decoder", ["auto", "decord"])
def test_two_hundred_damaged_files(folder, decoder):
    if decoder == "decord" and importlib.util.find_spec("decord") is None:
        pytest.skip("decord is not installed")
    check(outcomes(folder, 1000, 200, decoder), 200)
