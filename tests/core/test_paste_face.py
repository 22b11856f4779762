"""A face clip back in its video: the reverse of cutting it out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.crop import cut_squares
from slotid_core.reference.faces.paste import paste_squares

HEIGHT, WIDTH = 48, 80


def smooth_video(frames: int = 3) -> torch.Tensor:
    """(T, HEIGHT, WIDTH, 3) without detail that resampling would lose."""
    y, x = torch.meshgrid(torch.linspace(0, 3, HEIGHT), torch.linspace(0, 5, WIDTH), indexing="ij")
    return torch.stack([0.5 + 0.3 * torch.sin(torch.stack([x + t, y - t, x + y], dim=-1)) for t in range(frames)])


@settings(max_examples=examples(40), deadline=None)
@given(
    st.floats(-15, 70), st.floats(-15, 40), st.floats(8, 60), st.sampled_from([16, 64, 128]), st.floats(0, 0.5)
)  # fmt: skip
def test_what_was_cut_out_and_put_back_changes_nothing(left, top, side, size, feather):
    video = smooth_video()
    squares = np.array([[left + t, top, side + t] for t in range(3)])
    back = paste_squares(video, cut_squares(video, squares, size), squares, feather)
    assert (back - video).abs().max() < 0.2, "a square of few pixels is a blurred one"
    assert (back - video).abs().mean() < 0.01
    onto_black = paste_squares(torch.zeros_like(video), cut_squares(video, squares, size), squares, feather=0.0)
    for frame, (x, y, s) in enumerate(squares):
        inside = (slice(max(0, int(y) + 2), max(0, int(y + s) - 2)), slice(max(0, int(x) + 2), max(0, int(x + s) - 2)))
        assert torch.allclose(onto_black[frame][inside], video[frame][inside], atol=0.2), "the clip itself is there"


def test_outside_the_square_nothing_changes_and_its_middle_is_the_new_face():
    video, face = smooth_video(), torch.ones(3, 32, 32, 3)
    back = paste_squares(video, face, np.array([[20.0, 10.0, 24.0]] * 3), feather=0.25)
    assert torch.equal(back[:, :, :20], video[:, :, :20]) and torch.equal(back[:, :, 44:], video[:, :, 44:])
    assert torch.equal(back[:, :10], video[:, :10]) and torch.equal(back[:, 34:], video[:, 34:])
    assert (back[:, 17:27, 27:37] == 1).all(), "beyond the soft edge"
    edge = (back[0, 22, 20:27] - video[0, 22, 20:27]) / (1 - video[0, 22, 20:27])
    assert (edge.diff(dim=0) > 0).all() and 0 < edge[0].max() < 0.05, "the edge rises steadily from almost nothing"


def test_a_face_partly_outside_the_frame_is_pasted_as_far_as_it_is_seen():
    video, face = smooth_video(), torch.zeros(3, 32, 32, 3)
    face[:, :, 16:] = 1.0  # the right half
    back = paste_squares(video, face, np.array([[-16.0, 8.0, 32.0]] * 3), feather=0.0)
    assert (back[:, 9:39, 1:15] == 1).all()
    away = paste_squares(video, face, np.array([[-40.0, 8.0, 32.0]] * 3))
    assert torch.equal(away, video)


def test_a_mask_of_any_size_says_where_the_new_face_counts():
    video, face = smooth_video(), torch.ones(3, 32, 32, 3)
    square = np.array([[20.0, 10.0, 32.0]] * 3)
    mask = torch.zeros(1, 8, 8)
    mask[:, :, 4:] = 1.0
    back = paste_squares(video, face, square, feather=0.0, mask=mask)
    assert torch.allclose(back[:, 12:40, 20:32], video[:, 12:40, 20:32]) and (back[:, 12:40, 42:52] == 1).all()
    each = torch.stack([torch.zeros(8, 8), torch.ones(8, 8), torch.zeros(8, 8)])
    back = paste_squares(video, face, square, mask=each)
    assert torch.equal(back[0], video[0]) and not torch.equal(back[1], video[1])


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda given: given | {"clip": given["clip"][:2]}, r"3 frames, the face clip 2 and its crop 3.*4n\+1"),
        (lambda given: given | {"clip": given["clip"][:, :16]}, "32 x 16 pixels. Keep it square"),
        (lambda given: given | {"clip": given["clip"] * float("nan")}, "NaN"),
        (lambda given: given | {"mask": torch.ones(2, 8, 8)}, "mask has 2 frames and the face clip 3"),
    ],
)
def test_what_does_not_fit_is_said(change, said):
    given = {"frames": smooth_video(), "clip": torch.ones(3, 32, 32, 3), "squares": np.array([[20.0, 10.0, 24.0]] * 3)}
    with pytest.raises(SlotIDError, match=said):
        paste_squares(**change(given))
