"""Training of the finder of drawn faces, on rendered frames of everybody in any place, and on pictures of nobody."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ..files import whole_file
from ..reference.faces.drawn_faces import (
    EYES,
    KIND,
    LANDMARKS,
    LOG_SIDE,
    MIDDLE,
    SCORE,
    SIDE,
    STRIDE,
    VERSION,
    DrawnFaceFinder,
    decode,
)
from ..reference.portrait.parts import SIDE as WIDE
from ..toy_world import backdrop
from ..toy_world.canvas import Canvas
from ..toy_world.evaluate import held_out
from ..toy_world.landmarks import eyes_open, face_landmarks
from ..toy_world.render import draw, head_boxes, reference_motion
from ..toy_world.training_loop import Schedule, load_trained, train
from ..weights import save_weights
from .backgrounds import background
from .compose import portrait_sample
from .drawn_heads import SIZE, DrawnHeads, drawn_heads
from .norms import fit_norms
from .portraits import Portraits, people_in, read_portraits

FRAMES = 33  # of a held-out clip
NOBODY = 0.3  # share of pictures without a drawn head
NEAR = 1.5  # cells around the middle of a head that count for neither


@dataclass(frozen=True)
class DrawnFacesTraining:
    """`photographs`: the folder of portraits, in which nothing is to be found."""

    heads: int = 4096
    nobody: int = 2048
    steps: int = 2000
    batch: int = 32
    learning_rate: float = 3e-3
    photographs: str = ""
    save_every: int = 250


def train_drawn_faces(folder: Path, config: DrawnFacesTraining | None = None, device: str = "cpu") -> None:
    config = config or DrawnFacesTraining()
    torch.manual_seed(0)
    finder = DrawnFaceFinder()
    heads, empty = material(folder, config)

    def loss_of(step: int, pictures: Tensor, targets: Tensor):
        return finder_loss(finder(pictures), targets)

    schedule = Schedule(config.steps, config.learning_rate, warmup=100)
    train(
        "drawn_faces", finder, lambda step: draw_batch(step, config.batch, heads, empty), loss_of, schedule, folder,
        config.save_every, weight_decay=1e-4, average=0.99, device=device,
    )  # fmt: skip


def finish_drawn_faces(folder: Path, path: Path, config: DrawnFacesTraining | None = None) -> dict[str, float]:
    """Write the finder's file, and say how well it does on held-out people."""
    config = config or DrawnFacesTraining()
    heads, empty = material(folder, config)
    finder = DrawnFaceFinder()
    load_trained(folder, "drawn_faces", finder)
    fit_norms(finder, (draw_batch(5_000_000 + step, 32, heads, empty)[0] for step in range(40)))
    figures = evaluate_finder(finder)
    half = {name: t.half() if t.is_floating_point() else t for name, t in finder.state_dict().items()}
    save_weights(path, half, {"kind": KIND, "version": VERSION, "metrics": figures})
    return figures


def material(folder: Path, config: DrawnFacesTraining) -> tuple[DrawnHeads, Tensor]:
    """Drawn heads, and pictures (N, 3, SIDE, SIDE) uint8 without any; both are kept in the folder."""
    heads, path = drawn_heads(folder, config.heads), folder / f"nobody_{config.nobody}.safetensors"
    if not path.is_file():
        photographs = Path(config.photographs)
        real = read_portraits(photographs, people_in(photographs)[0], folder / "portraits.safetensors")
        empty = [
            (nobody(real, np.random.default_rng((n, 97))) * 255).round().byte()
            for n in tqdm(range(config.nobody), desc="pictures of nobody", mininterval=5)
        ]
        with whole_file(path, ending="") as unfinished:
            save_file({"pictures": torch.stack(empty)}, unfinished)
    return heads, load_file(path)["pictures"]


def draw_batch(step: int, count: int, heads: DrawnHeads, empty: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, SIDE, SIDE) and targets (B, 16, SIDE / 8, SIDE / 8); NaN where a cell counts for neither."""
    rng = np.random.default_rng((step, 83))
    pictures, targets = [], []
    for _ in range(count):
        if rng.random() < NOBODY:
            pictures.append(spoilt(empty[int(rng.integers(len(empty)))].float() / 255, rng))
            targets.append(target_of([], [], []))
            continue
        index = int(rng.integers(len(heads)))
        points, box = heads.landmarks[index].double().numpy(), heads.boxes[index].double().numpy()
        picture, points, box = placed(heads.frames[index].float() / 255, points, box, rng)
        pictures.append(spoilt(picture, rng))
        targets.append(target_of([points], [heads.eyes[index].numpy()], [box]))
    return torch.stack(pictures), torch.stack(targets)


def nobody(real: Portraits, rng: np.random.Generator) -> Tensor:
    """(3, SIDE, SIDE) without a drawn head: real people before any background, a place of the toy world, or neither."""
    kind = rng.random()
    if kind < 0.6:
        behind = place(rng, WIDE) if rng.random() < 0.3 else None
        picture = portrait_sample(real, int(rng.integers(len(real))), rng, behind)[0]
        return F.interpolate(picture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return place(rng, SIDE) if kind < 0.8 else background(rng, SIDE)


def place(rng: np.random.Generator, side: int) -> Tensor:
    """A background of the toy world, (3, side, side)."""
    canvas = Canvas(1, side)
    backdrop.DRAW[int(rng.integers(len(backdrop.DRAW)))](canvas)
    return canvas.pixels[0]


def placed(frame: Tensor, points: np.ndarray, box: np.ndarray, rng: np.random.Generator):
    """A frame (3, SIZE, SIZE) somewhere in a picture of SIDE pixels, larger or smaller, on another background."""
    side = int(SIDE * rng.uniform(0.45, 1.3))
    left, top = (int(rng.integers(min(0, SIDE - side), max(0, SIDE - side) + 1)) for _ in range(2))
    picture = F.interpolate(frame[None], (side, side), mode="bilinear", antialias=True)[0]
    canvas = background(rng, SIDE)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(SIDE, top + side), min(SIDE, left + side)
    canvas[:, y0:y1, x0:x1] = picture[:, y0 - top : y1 - top, x0 - left : x1 - left]
    scale, offset = side / SIZE, np.array([left, top])
    moved = np.concatenate([box[:2] * scale + offset, box[2:] * scale + offset])
    return canvas, points * scale + offset, moved


def spoilt(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Softer, lighter or darker, tinted and noisy, as codecs, scaling and cameras leave a picture."""
    if rng.random() < 0.5:
        small = int(rng.integers(48, SIDE))
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)
        picture = F.interpolate(picture, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    gain, tint = rng.uniform(0.7, 1.2), torch.from_numpy(rng.normal(0, 0.03, (3, 1, 1))).float()
    noise = rng.uniform(0, 0.03) * torch.from_numpy(rng.normal(size=(3, SIDE, SIDE))).float()
    return (picture * gain + tint + noise).clamp(0, 1)


def target_of(points: list[np.ndarray], eyes: list[np.ndarray], boxes: list[np.ndarray]) -> Tensor:
    cells = SIDE // STRIDE
    target = torch.zeros(16, cells, cells)
    target[1:] = torch.nan
    y, x = torch.meshgrid(torch.arange(cells) + 0.5, torch.arange(cells) + 0.5, indexing="ij")
    for landmark, opened, box in zip(points, eyes, boxes, strict=True):
        middle, side = (box[:2] + box[2:]) / 2, float(box[2] - box[0])
        if not (0 <= middle[0] < SIDE and 0 <= middle[1] < SIDE):
            continue
        away = torch.hypot(x - middle[0] / STRIDE, y - middle[1] / STRIDE)
        target[SCORE][:, away < NEAR] = torch.nan
        row, column = int(middle[1] // STRIDE), int(middle[0] // STRIDE)
        target[SCORE, row, column] = 1.0
        near = away < 1.0
        near[row, column] = True
        for r, c in near.nonzero().tolist():
            cell = np.array([c, r]) + 0.5
            target[MIDDLE, r, c] = torch.from_numpy(middle / STRIDE - cell).float()
            target[LOG_SIDE, r, c] = float(np.log(side / STRIDE))
            target[LANDMARKS, r, c] = torch.from_numpy(((landmark - middle) / side).reshape(-1)).float()
            target[EYES, r, c] = torch.from_numpy(opened).float()
    return target


def finder_loss(output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Focal loss of the score (Lin et al. 2017), L1 of places, cross-entropy of the eyes; NaN counts for neither."""
    logit, wanted = output[:, SCORE], target[:, SCORE]
    known = ~torch.isnan(wanted)
    logit, wanted = logit[known], wanted[known]
    probability = logit.sigmoid()
    right = torch.where(wanted > 0.5, probability, 1 - probability)
    score = (-((1 - right) ** 2) * right.clamp(min=1e-6).log() * torch.where(wanted > 0.5, 10.0, 1.0)).sum()
    score = score / max(1.0, float((wanted > 0.5).sum()))
    parts = {"score": score}
    for name, channels, weight in (("middle", MIDDLE, 0.5), ("side", LOG_SIDE, 2.0), ("landmarks", LANDMARKS, 8.0)):
        known = ~torch.isnan(target[:, channels])
        away = (output[:, channels][known] - target[:, channels][known]).abs()
        parts[name] = weight * (away.mean() if len(away) else away.sum())
    known = ~torch.isnan(target[:, EYES])
    parts["eyes"] = F.binary_cross_entropy_with_logits(output[:, EYES][known], target[:, EYES][known])
    return torch.stack(list(parts.values())).sum(), {name: value.item() for name, value in parts.items()}


@torch.no_grad()
def evaluate_finder(finder: DrawnFaceFinder, seed: int = 6, num_people: int = 64) -> dict[str, float]:
    """On held-out clips: share of frames with the head found, of boxes on something else, landmarks' distance as a
    share of the head's side, and accuracy of eyes open or closed."""
    people, _ = held_out(seed, num_people)
    found_frames = wrong = frames = 0
    distances, eyes_right = [], []
    for number, person in enumerate(people):
        scene, motion = reference_motion(person, 7_000_000 + number, FRAMES)
        clip = draw([person], [scene], [motion], SIDE)[0]
        points, boxes = face_landmarks(person, scene, motion, SIDE), head_boxes(scene, motion, SIDE)
        opened = eyes_open(person, motion)
        output = finder(clip.permute(0, 3, 1, 2))
        for index in range(FRAMES):
            found = decode(output[index])
            middles = (found.box[:, :2] + found.box[:, 2:]) / 2
            wanted, side = (boxes[index, :2] + boxes[index, 2:]) / 2, boxes[index, 2] - boxes[index, 0]
            near = np.hypot(*(middles - wanted).T) < 0.25 * side
            frames += 1
            found_frames += bool(near.any())
            wrong += int((~near).sum())
            if near.any():
                best = int(near.argmax())
                distances.append(np.hypot(*(found.landmarks[best] - points[index]).T).mean() / side)
                known = np.isfinite(opened[index]) & (np.abs(opened[index] - 0.5) > 0.2)
                eyes_right += ((found.eyes[best] > 0.5) == (opened[index] > 0.5))[known].tolist()
    return {
        "found": found_frames / frames,
        "wrong": wrong / frames,
        "landmarks": float(np.mean(distances)),
        "eyes": float(np.mean(eyes_right)),
    }
