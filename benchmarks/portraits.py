"""Portraits of real clips: how well the cut agrees with a large network's, and a contact sheet for eyes.

    python -m benchmarks.portraits --clips FOLDER [FOLDER] --part report --network FOLDER --sheet sheet.jpg

The large network is for measuring only. Clips are taken in turn for building and for reporting, by name.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.faces.crop import cut_squares
from slotid_core.reference.faces.detector import find_detector
from slotid_core.reference.faces.face import box_of
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.portrait.background import neutralise
from slotid_core.reference.portrait.onnx_matting import find_matting
from slotid_core.reference.portrait.parts import find_parts
from slotid_core.reference.portrait.select import select_portrait

FRAMES = (8, 32, 56)  # on which cuts are compared
SIZE = 256  # of a face clip
BAND = 10  # pixels on each side of the person's edge, above the chin


def clips_in(folders: list[Path], part: str) -> list[Path]:
    files = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in (".mp4", ".mpg"))
    return {"build": files[::2], "report": files[1::2], "all": files}[part]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def hair_band(person: np.ndarray, chin: float) -> np.ndarray:
    """Pixels near the edge of a person's mask, above the chin."""
    inner = np.asarray(ndimage.binary_erosion(person, iterations=BAND, border_value=1), dtype=bool)
    wide = np.asarray(ndimage.binary_dilation(person, iterations=BAND), dtype=bool)
    return wide & np.logical_not(inner) & (np.arange(len(person))[:, None] < chin)


def compare(path: Path, matting, cache: Path | None) -> tuple[list[dict], torch.Tensor]:
    """Figures of each compared frame; and a row of pictures: chosen frame, portrait, our cut, the network's."""
    clip = read_clip(path, 65, 0.0, 16.0, 480)
    detector = find_detector()
    face = make_face_clip(clip.frames, detector, size=SIZE)
    assert face.boxes is not None
    chosen = select_portrait(face.clip, detector)
    row = [face.clip[chosen.report["frame"]], chosen.image[0]]
    kept = cache / f"{path.stem}.npz" if cache else None
    known = dict(np.load(kept)) if kept and kept.is_file() else {}
    figures = []
    for index in (index for index in FRAMES if index < len(face.clip)):
        if str(index) not in known:
            mask = matting.person_mask(clip.frames[index], tuple(face.boxes[index]))
            picture = mask[None, ..., None].expand(-1, -1, -1, 3)
            known[str(index)] = cut_squares(picture, face.squares[index : index + 1], SIZE)[0, ..., 0].numpy()
        theirs = torch.from_numpy(known[str(index)])
        square = face.squares[index]
        box = (face.boxes[index] - np.tile(square[:2], 2)) * SIZE / square[2]
        ours = find_parts(face.clip[index : index + 1], [box_of(box)]).alpha[0]
        band = hair_band(theirs.numpy() > 0.5, float(box[3]))
        mine, true = ours.numpy() > 0.5, theirs.numpy() > 0.5
        figures.append(
            {"clip": path.stem, "frame": index, "iou": iou(mine, true), "band": iou(mine & band, true & band)}
        )
        if index == FRAMES[0]:
            row += [neutralise(face.clip[index], mask, (1.0, 1.0, 1.0)) for mask in (ours, theirs)]
    if kept:
        np.savez(kept, **known)  # pyright: ignore[reportArgumentType]
    return figures, torch.cat(row, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--part", choices=("build", "report", "all"), default="report")
    parser.add_argument("--network", type=Path, required=True, help="folder of a background-removal network (ONNX)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the network's results")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    matting, reason = find_matting((str(options.network),))
    if matting is None:
        raise SystemExit(reason)
    figures, rows = [], []
    for path in clips_in(options.clips, options.part):
        found, row = compare(path, matting, options.cache)
        figures += found
        rows.append(row)
        print(path.stem, " ".join(f"{one['iou']:.3f}/{one['band']:.3f}" for one in found), flush=True)
    for name in ("iou", "band"):
        values = [one[name] for one in figures]
        print(f"{name}: mean {np.mean(values):.3f}, worst {min(values):.3f} of {len(values)} frames")
    if options.sheet:
        from PIL import Image

        Image.fromarray((torch.cat(rows) * 255).round().byte().numpy()).save(options.sheet)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
