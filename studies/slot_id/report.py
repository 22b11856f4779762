"""What a reader sees of the study: figures, pictures and the page, written from the rows that are finished."""

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image

from slotid_core.evaluation.sheet import save_rows
from slotid_core.evaluation.usage import Reference
from slotid_core.files import whole_file, write_json, write_text
from slotid_core.systems.slot_id import load_adapter
from slotid_core.systems.slot_id.pictures import slot_heat_map
from slotid_core.toy_world.family import has_part, part_path
from studies.slot_id.figures import collect
from studies.slot_id.page import page
from studies.slot_id.plan import ABLATION_GROUPS, AS_SHIPPED, MAIN_ROWS, TRIALS, Row
from studies.slot_id.plots import save_plots
from studies.slot_id.published import published, with_published
from studies.slot_id.runner import SHOWN, Study, slug


def write_report(study: Study, folder: Path) -> dict:
    """The figures, flat, which are also written to figures.json."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = with_published(collect(study), published(folder / "figures.json"))
    write_json(folder / "figures.json", figures, sort_keys=True)
    save_plots(figures, folder)
    save_sheet(study, MAIN_ROWS, folder / "sheet.jpg", people=SHOWN)
    for group in ABLATION_GROUPS:
        save_sheet(study, group, folder / f"sheet_ablations_{slug(group[0].name)}.jpg")
    for group, rows in TRIALS.items():
        save_sheet(study, (AS_SHIPPED, *rows), folder / f"sheet_{slug(group)}.jpg")
    save_heat_map(study, folder / "slots.jpg")
    text = page(figures, {path.name for path in folder.iterdir()})
    write_text(folder / "README.md", text)
    return figures


def save_sheet(study: Study, rows: tuple[Row, ...], path: Path, people: int = 4) -> None:
    """The first people in their first scene; of rows with two seeds, the first one's clips."""
    measured = {row.name: study.measured(row) for row in rows}
    shown = {name: values["frames"][:people, 0] for name, values in measured.items() if values}
    if len(shown) > 1:
        drawings = {name: torch.from_numpy(frames).float() / 255 for name, frames in shown.items()}
        save_rows(drawings, study.subjects[:people], path)


def save_heat_map(study: Study, path: Path, count: int = 4) -> None:
    """Where each slot of the shipped adapter reads.

    A row is a latent frame of one reference. The first column shows the frame, each other one a slot's assignment.
    """
    if not has_part("adapter", study.settings.weights):
        return
    encoder = load_adapter(part_path("adapter", study.settings.weights)).encoder
    if encoder is None or encoder.config.architecture != "slots":
        return
    subject = study.subjects[0]
    clip = study.studio.pictures(subject).reference  # (T, H, W, 3)
    latents = study.studio.conditions(subject, Reference(), ("reference",))["reference"]
    with torch.no_grad():
        strips = slot_heat_map(encoder(latents).assignment)  # (T', H', S H', 3)
    chosen = torch.linspace(0, len(strips) - 1, count).round().long()
    seen = clip[chosen * (len(clip) - 1) // max(1, len(strips) - 1)]  # (count, H, W, 3)
    seen = F.interpolate(rearrange(seen, "n h w c -> n c h w"), strips.shape[1])
    rows = torch.cat([rearrange(seen, "n c h w -> n h w c"), strips[chosen]], dim=2)
    with whole_file(path) as unfinished:
        Image.fromarray((rows.flatten(0, 1) * 255).round().byte().numpy()).save(unfinished, quality=88)
