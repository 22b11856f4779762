"""Every kind of writer, killed again and again at random moments: what is there is whole, and nothing else stays.

SLOTID_KILLS=200 asks for so many kills of each kind; a failure names the seed of its moments, for SLOTID_KILLS_SEED.
"""

import os
import random

import pytest
from killed_writers import WRITERS, kill_a_writer, kill_preparations, kill_trainings

KILLS = int(os.environ.get("SLOTID_KILLS", "20"))
SEED = int(os.environ.get("SLOTID_KILLS_SEED", str(random.randrange(1_000_000))))
FEW = max(2, KILLS // 5)  # of whole runs, which take longer
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked, which starts them at once"),
]


@pytest.mark.parametrize("kind", WRITERS)
def test_b10_a_killed_writer_leaves_a_whole_file_and_its_successor_nothing_else(tmp_path, kind):
    left = kill_a_writer(kind, tmp_path, KILLS, SEED)
    print(f"{kind}: {KILLS} kills, {left} of them left something unfinished, which is gone")


def test_b10_a_preparation_killed_at_random_ends_with_the_same_bytes(tmp_path):
    kill_preparations(tmp_path, FEW, SEED)


def test_b10_a_training_killed_at_random_ends_with_the_same_adapter(tmp_path):
    kill_trainings(tmp_path, FEW, SEED)
