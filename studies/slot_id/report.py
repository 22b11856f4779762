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
from studies.slot_id.figures import OF_REPORTED, Table
from studies.slot_id.page import page
from studies.slot_id.people import REPORTED
from studies.slot_id.plan import ABLATION_GROUPS, AS_SHIPPED, MAIN_ROWS, TRIALS, Row
from studies.slot_id.plots import save_plots
from studies.slot_id.runner import SHOWN, Study, slug
from studies.slot_id.verdicts import add_claims, add_defaults

FEWER = 4  # people on a sheet of ablations or trials


def write_report(study: Study, folder: Path) -> dict:
    """The figures, flat, which are also written to figures.json."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = collect(study)
    write_json(folder / "figures.json", figures, sort_keys=True)
    sheets = {"sheet.jpg": (MAIN_ROWS, SHOWN)}
    sheets |= {f"sheet_ablations_{slug(group[0].name)}.jpg": (group, FEWER) for group in ABLATION_GROUPS}
    sheets |= {f"sheet_{slug(group)}.jpg": ((AS_SHIPPED, *rows), FEWER) for group, rows in TRIALS.items()}
    made = save_plots(figures, folder)
    made |= {name: save_sheet(study, *content, folder / name) for name, content in sheets.items()}
    made["slots.jpg"] = save_heat_map(study, folder / "slots.jpg")
    for name, saved in made.items():
        if not saved:  # a picture of rows that no longer count
            (folder / name).unlink(missing_ok=True)
    write_text(folder / "README.md", page(figures, {name for name, saved in made.items() if saved}))
    return figures


def collect(study: Study) -> dict:
    """Flat figures of everything that is finished."""
    table = Table(study)
    table.add_protocol()
    table.add_rows()
    add_claims(table)
    add_defaults(table)
    return table.figures


def save_sheet(study: Study, rows: tuple[Row, ...], people: int, path: Path) -> bool:
    """The first people in their first scene, by the first training seed; whether there is something to compare."""
    for on in (study.sets[name] for name in OF_REPORTED):
        finished = {row.name: study.finished(row, on) for row in rows}
        shown = {name: seeds[min(seeds)]["frames"][:people, 0] for name, seeds in finished.items() if seeds}
        if len(shown) > 1:
            drawings = {name: torch.from_numpy(frames).float() / 255 for name, frames in shown.items()}
            save_rows(drawings, study.subjects(on)[:people], path)
            return True
    return False


def save_heat_map(study: Study, path: Path, count: int = 4) -> bool:
    """Where each slot of the shipped adapter reads; whether there is one.

    A row is a latent frame of one reference. The first column shows the frame, each other one a slot's assignment.
    """
    if not has_part("adapter", study.settings.weights):
        return False
    encoder = load_adapter(part_path("adapter", study.settings.weights)).encoder
    if encoder is None or encoder.config.architecture != "slots":
        return False
    subject = study.subjects(study.sets[REPORTED])[0]
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
    return True
