"""How much a person's slots depend on the frame rate of the clip, beside how much they depend on the crop.

    python -m tools.measure_rates [--people 8] [--json figures.json]

Drawn people move in real time and are filmed at several rates. Their clips are read as a file, cropped, and encoded by
the toy world's VAE and adapter. A distance is |a - b| / |a| of all slots. Three ways of reading are compared:
every frame, as Load Reference Video did by default until there was a rate; at the adapter's rate; and every frame of
four seconds, brought to the adapter's rate by Encode Reference. The crop is the drawing's own: no detector is judged.
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slotid_core.files import write_json
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.decode.rate import at_rate
from slotid_core.reference.faces.crop import cut_squares, square_path
from slotid_core.systems.slot_id import SlotIDAdapter, load_adapter
from slotid_core.toy_world.example import RATE, at_times, write_clip
from slotid_core.toy_world.family import load_vae, part_path
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import head_boxes, reference_motion
from slotid_core.wan.vae import normalize_latents

RATES = (25, 30, 60)
SLOWER = (8, 12)
FRAMES, SECONDS, SIZE, SMOOTHING = 65, 4, 128, 8
MARGINS = (0.5, 0.45)
FACE = 0.65  # of the drawn head's side: a box from brows to chin, as detectors place it
FIRST = HELD_OUT_FROM + 9_000  # no evaluation of seed 0 has so many people


class Filmed:
    """One person's clips at several rates in `folder`, and slots of them."""

    def __init__(self, folder: Path, seed: int, adapter: SlotIDAdapter, vae):
        self.folder, self.seed, self.adapter, self.vae = folder, seed, adapter, vae
        self.scene, self.motion = reference_motion(sample_person(seed), seed, SECONDS * RATE + 1)

    def clip(self, rate: int) -> Path:
        path = self.folder / f"{self.seed}_{rate}.mp4"
        if not path.is_file():
            write_clip(path, sample_person(self.seed), self.seed, SECONDS * rate + 1, SIZE, rate)
        return path

    @torch.no_grad()
    def slots(
        self,
        rate: int,
        num_frames: int = FRAMES,
        read_at: float | None = None,
        encode_at: float = 0.0,
        margin: float = MARGINS[0],
    ) -> Tensor:
        """(slots, width) of the clip at `rate`.

        Args:
            read_at: sampling rate of the reader; None takes every frame.
            encode_at: rate to which the face clip is brought afterwards; 0 leaves it.
        """
        read = read_clip(self.clip(rate), num_frames, frames_per_second=read_at)
        boxes = head_boxes(self.scene, at_times(self.motion, np.array(read.times) * RATE), SIZE)
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, FACE * (boxes[:, 2:] - boxes[:, :2]) / 2
        faces_at = np.concatenate([centre - half, centre + half], axis=1)
        squares = square_path(faces_at, SIZE, SIZE, margin, SMOOTHING)
        faces = cut_squares(read.frames, squares, self.adapter.config.reference_size)
        if encode_at:
            faces = at_rate(faces, read.frames_per_second, encode_at, FRAMES).frames
        latents = normalize_latents(self.vae.encode(faces.permute(3, 0, 1, 2)[None] * 2 - 1))
        assert self.adapter.encoder is not None  # the toy world's adapter reads clips
        return self.adapter.encoder(latents).tokens[0]


def distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / first.norm())


def distances(person: Filmed) -> dict[str, float]:
    """Distances of one person; between rates, the largest of the pairs."""
    wanted = person.adapter.config.reads_at
    ours = person.slots(RATE, read_at=wanted)
    found = {"two crops": distance(ours, person.slots(RATE, read_at=wanted, margin=MARGINS[1]))}
    ways = {
        "every frame": {},
        "read at the rate": {"read_at": wanted},
        "encoded at the rate": {"encode_at": wanted},
    }
    for way, settings in ways.items():
        by_rate = {
            rate: person.slots(rate, SECONDS * rate + 1 if "encode_at" in settings else FRAMES, **settings)
            for rate in RATES
        }
        pairs = [distance(*pair) for pair in itertools.combinations(by_rate.values(), 2)]
        found[f"{way}: between rates"] = max(pairs)
        found |= {f"{way}: {rate} from {RATE} fps": distance(ours, slots) for rate, slots in by_rate.items()}
    for rate in SLOWER:
        frames = SECONDS * rate + 1
        found[f"slower, every frame: {rate}"] = distance(ours, person.slots(rate, frames))
        found[f"slower, frames repeated: {rate}"] = distance(ours, person.slots(rate, frames, encode_at=wanted))
    return found


def measure(people: int) -> dict[str, float]:
    """Means over people, and how far different people's slots lie apart."""
    adapter, vae = load_adapter(part_path("adapter")), load_vae()
    rows, all_slots = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(FIRST, FIRST + people):
            person = Filmed(Path(folder), seed, adapter, vae)
            rows.append(distances(person))
            all_slots.append(person.slots(RATE, read_at=adapter.config.reads_at))
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    figures["two people"] = float(np.mean([distance(*pair) for pair in itertools.permutations(all_slots, 2)]))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_rates", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--people", type=int, default=8, help="drawn people, at least 2, default 8")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = measure(arguments.people)
    for name, value in figures.items():
        print(f"{name:<40} {value:.4f}")
    if arguments.json:
        write_json(arguments.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
