"""`evaluation graph`: what a user gets, and beside it what the same people get in the lab."""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...errors import SlotIDError
from ...files import disk_errors, write_json, write_text
from ...folder_lock import only_run_in
from ...toy_world.motion import CLIP_FRAMES
from ...toy_world.render import FRAME_SIZE
from ..metrics import Metrics, row_line
from ..studio import Studio
from ..subjects import Subject, subjects_of
from ..videos import as_judged, of_judged_length
from .figures import LAB, SAMPLED, figures_of
from .lab import lab_clips, lab_row
from .records import Record, Records, pack_fingerprint
from .sheet import save_sheet
from .workflow import Workflow, read_workflow

if TYPE_CHECKING:
    from argparse import Namespace

SHOWN = 16  # people on the sheet


def evaluate_graph(options: "Namespace") -> None:
    workflow = read_workflow(options.workflow, options.steps)
    if options.comfyui:
        os.environ["COMFYUI_PATH"] = str(options.comfyui)
    subjects = subjects_of(options.seed, options.identities, options.prompts)
    settings = {
        "workflow": hashlib.sha256(json.dumps(workflow.nodes).encode()).hexdigest()[:16],
        "pack": "that of a running server" if options.server else pack_fingerprint(),
        "seed": options.seed,
        "prompts": options.prompts,
    }
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slotid-graph-")))
        stack.enter_context(only_run_in(folder))
        stack.enter_context(disk_errors(folder, only_full=True))
        records = Records(folder, settings)
        try:
            run_missing(workflow, subjects, options, records)
            judge(workflow, subjects, options, records)
        except KeyboardInterrupt:
            how = f"run it again to go on from {folder}" if options.folder else "with --folder it could have gone on"
            raise SlotIDError(f"stopped; {how}.") from None


def run_missing(workflow: Workflow, subjects: list[Subject], options: "Namespace", records: Records) -> None:
    """Every prompt that has not ended yet, through the server; it is started only if there is one."""
    total = len(subjects) * options.prompts
    missing = sum(records.read(subject, place) is None for subject in subjects for place in range(options.prompts))
    if not missing:
        return
    try:
        from .run import own_server, run_people
    except ImportError as error:
        raise SlotIDError(f"{error}. Install what the client needs: pip install requests websocket-client") from error
    with contextlib.ExitStack() as stack:
        if not options.server:
            print("starting ComfyUI (about half a minute)", flush=True)
        address = options.server or stack.enter_context(own_server())
        with tqdm(total=total, initial=total - missing, desc=workflow.name) as bar:
            run_people(address, workflow, subjects, options.seed, records, bar.update)


def judge(workflow: Workflow, subjects: list[Subject], options: "Namespace", records: Records) -> None:
    """Figures, errors and the sheet of what the records hold."""
    ended = [[ended_record(records, subject, place) for place in range(options.prompts)] for subject in subjects]
    came_out = np.array([[not record.error for record in row] for row in ended])
    studio = Studio(options.adapters, workflow.usage)
    metrics = Metrics(studio, subjects, options.seed)
    lab, row = None, lab_row(workflow.name)
    if row is not None and studio.has(row):
        with tqdm(total=came_out.size, desc=LAB) as bar:
            lab = lab_clips(studio, row, subjects, options.seed, records, bar.update)
    else:
        print(f"No system of the toy world belongs to {workflow.name}, so there is no {LAB}.", file=sys.stderr)
    measured = metrics.measure(clips_of(records.saved_frames, subjects, came_out))
    sampled = None if workflow.frames is None else clips_of(records.sampled_frames, subjects, came_out)
    figures = figures_of(
        measured, None if sampled is None else metrics.measure(sampled), None if lab is None else metrics.measure(lab),
        came_out,
    )  # fmt: skip
    figures["seconds_per_prompt"] = float(np.mean([record.seconds for row in ended for record in row]))
    tell(workflow.name, figures)
    tell_errors(subjects, ended, options.json)
    if options.json:
        write_json(options.json, figures)
    if options.sheet:
        shown = subjects[:SHOWN]
        save_sheet(records, shown, np.where(came_out, measured["similarity"], np.nan), lab, options.sheet)
        print(options.sheet)
    if not came_out.any():
        raise SlotIDError("every prompt ended in an error; the errors are above.")


def ended_record(records: Records, subject: Subject, place: int) -> Record:
    record = records.read(subject, place)
    if record is None:
        raise SlotIDError(f"The prompt {place} of person {subject.seed} has not been run. Run the command again.")
    return record


def clips_of(read, subjects: list[Subject], came_out: np.ndarray) -> Tensor:
    """Clips (people, prompts, 17, 64, 64, 3) as judges take them; black where there is none."""
    clips = torch.zeros(*came_out.shape, CLIP_FRAMES, FRAME_SIZE, FRAME_SIZE, 3)
    for number, place in np.argwhere(came_out):
        clips[number, place] = of_judged_length(as_judged(read(subjects[number], int(place))))
    return clips


def tell(name: str, figures: dict[str, float]) -> None:
    for row, label in (("", name), (SAMPLED, f"{name}, before the codec"), (LAB, LAB)):
        if f"{row}.similarity".removeprefix(".") in figures:
            print(row_line(label, row, figures))
    print(
        "toy world  {errors} of {prompts} prompts ended in an error; {seconds_per_prompt:.1f} s a prompt".format(
            **figures
        )
    )


def tell_errors(subjects: list[Subject], ended: list[list[Record]], figures_file: Path | None) -> None:
    """On standard error, and beside the figures as FILE.errors.txt, which goes when there are none."""
    lines = [
        f"person {subject.seed}, prompt {place}: {record.error}"
        for subject, row in zip(subjects, ended, strict=True)
        for place, record in enumerate(row)
        if record.error
    ]
    for line in lines:
        print(line, file=sys.stderr)
    if figures_file:
        path = figures_file.with_name(f"{figures_file.name}.errors.txt")
        if lines:
            write_text(path, "\n".join(lines) + "\n")
        else:
            path.unlink(missing_ok=True)
