"""Which sample comes when: every folder by its weight, and each of its samples once before any comes again."""

from collections import Counter

import numpy as np
import pytest

from slotid_core.errors import SlotIDError
from slotid_core.training.order import TURN, Order, shares


def drawn(order: Order, count: int) -> list[int]:
    return [order.index(position) for position in range(count)]


@pytest.mark.parametrize("weights", [(3, 1), (1, 1, 1), (0.98, 0.01, 0.01)])
def test_folders_come_as_often_as_their_weights_say(weights):
    lengths = (10, 300, 40)[: len(weights)]
    found = drawn(Order(5, lengths, weights), 3 * TURN)
    folders = Counter(int(np.searchsorted(np.cumsum(lengths), index, side="right")) for index in found)
    for folder, weight in enumerate(weights):
        assert folders[folder] == pytest.approx(3 * TURN * weight / sum(weights), abs=3)


def test_a_folder_shows_all_its_samples_before_it_shows_one_again():
    found = [index for index in drawn(Order(2, (7, 100), (1, 2)), 4 * TURN) if index < 7]
    for first in range(0, len(found) // 7 * 7, 7):
        assert sorted(found[first : first + 7]) == list(range(7))
    assert found[:7] != found[7:14]


def test_a_position_is_the_same_whoever_asks_when():
    one = Order(9, (13, 50), (1, 3))
    expected = drawn(one, 2 * TURN)
    again = Order(9, (13, 50), (1, 3))
    places = np.random.default_rng(0).permutation(2 * TURN)[:300]
    assert [again.index(int(place)) for place in places] == [expected[place] for place in places]
    assert drawn(Order(8, (13, 50), (1, 3)), 100) != expected[:100]


def test_without_weights_the_order_is_that_of_earlier_releases():
    """One permutation of all samples for each epoch, so that a run begun then goes on."""
    order = np.concatenate([np.random.default_rng((4, 7, epoch)).permutation(9) for epoch in range(3)])
    assert drawn(Order(4, (9,)), 27) == drawn(Order(4, (4, 5)), 27) == order.tolist()


def test_weights_that_fit_no_folders_are_refused():
    with pytest.raises(SlotIDError, match="has 3 numbers, and there are 2 folders"):
        Order(0, (4, 5), (1, 2, 3))
    with pytest.raises(SlotIDError, match="above 0"):
        Order(0, (4, 5), (1, 0))


@pytest.mark.parametrize("weights", [(1,), (1, 1e-9), (1, 1, 1), tuple(range(1, 40))])
def test_shares_are_whole_and_nobody_is_left_out(weights):
    assert sum(shares(weights)) == TURN and min(shares(weights)) >= 1
