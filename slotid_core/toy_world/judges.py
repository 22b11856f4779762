"""Judges of toy-world clips: whose face it is, what happens where in which clothes, and how the person moves.

They are trained on drawings, some of them out of the VAE, and share nothing with what an adapter is conditioned on.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .motion import CLIP_FRAMES
from .person import DYNAMICS, MARKS, Person
from .scene import ACTIONS, BACKGROUNDS, CLOTHES

# Which dynamics an action shows; the sway of the head is in all of them.
REVEALS = {
    "smile": ("smile_asymmetry", "smile_onset", "sway"),
    "nod": ("nod_frequency", "nod_amplitude", "sway"),
    "look around": ("sway",),
    "talk": ("talk_cadence", "sway"),
    "laugh": ("smile_onset", "sway"),
    "be surprised": ("sway",),
}
# Lowest and highest value of each of `person.DYNAMICS`.
RANGES = tuple((-1.0, 1.0) if name == "smile_asymmetry" else (0.0, 1.0) for name in DYNAMICS)


def reveals(action: Tensor) -> Tensor:
    """Action indices (B,) -> (B, number of dynamics), true where the action shows the factor."""
    table = torch.tensor([[name in REVEALS[act] for name in DYNAMICS] for act in ACTIONS], device=action.device)
    return table[action]


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def frame_tower(out_features: int) -> nn.Sequential:
    """Frames (N, 3, 64, 64) in [0, 1] -> (N, out_features)."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        ResidualBlock(48),
        nn.Conv2d(48, 96, 3, stride=2, padding=1),
        ResidualBlock(96),
        nn.GroupNorm(8, 96),
        nn.SiLU(),
        nn.Conv2d(96, 96, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(96 * 16, out_features),
    )


class FaceJudge(nn.Module):
    """One unit vector a frame; of one person they point the same way."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.tower = frame_tower(width)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, 64, 64) in [0, 1] -> (N, width)."""
        return F.normalize(self.tower(frames), dim=1)

    def embed_clips(self, clips: Tensor, every: int = 4) -> Tensor:
        """(B, T, 64, 64, 3) in [0, 1] -> (B, width), the mean direction over frames."""
        clips = clips[:, ::every]
        each = self(rearrange(clips, "b t h w c -> (b t) c h w"))
        return F.normalize(rearrange(each, "(b t) d -> b t d", b=len(clips)).mean(1), dim=1)


def angular_margin_loss(embedding: Tensor, centers: Tensor, person: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace (Deng et al. 2019, eq. 3): cross-entropy over cosines, the right angle made harder by `margin` radians.

    Args:
        embedding: (N, D) unit vectors.
        centers: (people, D), one direction a person, of any length.
        person: (N,) whose frame it is.
    """
    cosine = embedding @ F.normalize(centers, dim=1).T  # (N, people)
    right = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    harder = torch.cos(torch.acos(right) + margin)
    return F.cross_entropy(scale * cosine.scatter(1, person[:, None], harder), person)


class ClipJudge(nn.Module):
    """Action, background and clothes of a clip, and an estimate of each of the person's dynamics.

    What moves is read from the middle of the frames, minus the clip's mean: beside the differences between people and
    places, those between neighbouring frames are so small that a judge of whole frames never finds them.
    """

    MIDDLE = slice(2, 50), slice(8, 56)  # rows and columns of the head in all its poses
    STILLS = 8  # every eighth frame shows the place and the clothes

    def __init__(self, width: int = 64, hidden: int = 256):
        super().__init__()
        self.tower = frame_tower(width)
        self.place = nn.Linear(width, len(BACKGROUNDS))
        self.clothes = nn.Linear(width, len(CLOTHES))
        self.motion_tower = nn.Sequential(
            _halving(6, 24),
            _halving(24, 48),
            _halving(48, 96),
            nn.Conv2d(96, 96, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(96 * 9, width),
        )
        self.motion = nn.Sequential(
            nn.Conv1d(width, 128, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(128, width, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(CLIP_FRAMES * width, hidden),
            nn.SiLU(),
        )
        self.action = nn.Linear(hidden, len(ACTIONS))
        self.dynamics = nn.Linear(hidden, len(DYNAMICS))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, 17, 64, 64, 3) in [0, 1] -> logits `action`, `background`, `clothes`; `dynamics` in their own units."""
        count = len(clips)
        frames = rearrange(clips, "b t h w c -> b t c h w")
        stills = frames[:, :: self.STILLS]
        still = F.silu(rearrange(self.tower(stills.flatten(0, 1)), "(b t) d -> b t d", b=count)).mean(1)

        rows, columns = self.MIDDLE
        middle = frames[..., rows, columns]
        moving = torch.cat([middle - middle.mean(dim=1, keepdim=True), middle - 0.5], dim=2)  # (B, T, 6, 48, 48)
        features = rearrange(self.motion_tower(moving.flatten(0, 1)), "(b t) d -> b d t", b=count)
        motion = self.motion(features)
        low, high = torch.tensor(RANGES, device=clips.device).T
        # Without a bound, as a squashed estimate would shy away from the ends.
        dynamics = (low + high) / 2 + (high - low) / 12**0.5 * self.dynamics(motion)
        return {
            "action": self.action(motion),
            "background": self.place(still),
            "clothes": self.clothes(still),
            "dynamics": dynamics,
        }


class MarkJudge(nn.Module):
    """Which marks come into view in a clip of somebody who looks around, and to which side they turn.

    A mark on one side of the head is seen when it turns to the other.
    """

    EVERY = 2  # a mark is in view for several frames

    def __init__(self, width: int = 64):
        super().__init__()
        self.tower = frame_tower(width)
        self.seen = nn.Linear(width, len(MARKS))
        self.turn = nn.Linear(width, 1)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, T, 64, 64, 3) in [0, 1] -> logits: `marks` (B, marks), seen at all; `turn` (B,), above 0 to the right."""
        frames = rearrange(clips[:, :: self.EVERY], "b t h w c -> (b t) c h w")
        features = rearrange(self.tower(frames), "(b t) d -> b t d", b=len(clips))
        most = F.silu(features).amax(dim=1)  # one frame is enough
        return {"marks": self.seen(most), "turn": self.turn(most)[:, 0]}


def marks_in_view(person: Person, turn: float) -> list[bool]:
    """Which of somebody's marks a turn brings into view; `turn` above 0 is to the right, in terms of `Scene` yaw."""
    return [getattr(person, name) * turn < 0 for name in MARKS]


def _halving(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.GroupNorm(8, out_channels), nn.SiLU()
    )
