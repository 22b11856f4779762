"""The slots' heat map over the frames that they read."""

import torch

from slotid_core.systems.slot_id.pictures import slot_colours, slots_over_frames


def test_each_place_has_the_colour_of_the_slot_that_reads_it():
    assignment = torch.zeros(1, 3, 2, 2, 2)
    assignment[0, 0, :, :, 0] = 1.0  # slot 0 reads the left half
    assignment[0, 2, :, :, 1] = 0.4  # slot 2 the right one, as far as it reads anything
    seen = slots_over_frames(assignment, torch.full((5, 8, 8, 3), 0.5), opacity=1.0)
    assert seen.shape == (5, 8, 8, 3)
    colours = slot_colours(3)
    torch.testing.assert_close(seen[:, :, :4], colours[0].expand(5, 8, 4, 3))
    torch.testing.assert_close(seen[:, :, 4:], colours[2].expand(5, 8, 4, 3))


def test_what_nobody_reads_stays_as_it_is_and_maps_follow_in_time():
    assignment = torch.zeros(1, 2, 3, 1, 1)
    assignment[0, 1, 2] = 1.0  # at the end alone
    frames = torch.rand(9, 6, 10, 3)
    seen = slots_over_frames(assignment, frames)
    torch.testing.assert_close(seen[:3], frames[:3])
    assert not torch.equal(seen[8], frames[8])
