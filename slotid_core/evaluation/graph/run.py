"""Puts every person's clip and prompts through a server, as a user would, and keeps what comes out."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...comfy_client import ComfyClient, ConnectionLost, Result, WorkflowError
from ...comfy_server import ComfyServer
from ...dataset.toy_world_source import scene_seed
from ...errors import SlotIDError
from ...toy_world.example import write_clip
from ..subjects import Subject
from .records import Record, Records
from .workflow import FRAMES, PORTRAIT, Workflow

INTERRUPTED = "interrupted"  # what the client says of a workflow that somebody stopped


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """The address of a ComfyUI with this pack, on a free port and with folders of its own that go when it ends.

    If it dies, the end of its log is in the error.
    """
    with tempfile.TemporaryDirectory(prefix="slotid-server-") as folder, ComfyServer(Path(folder)) as server:
        try:
            yield server.address
        except ConnectionLost as error:
            raise SlotIDError(f"{error}\n{server.log_tail()}") from error


def run_people(
    address: str, workflow: Workflow, subjects: list[Subject], seed: int, records: Records,
    progress: Callable[[], object],
) -> None:  # fmt: skip
    """Run what has not been run yet.

    The noise of a prompt has the seed that it has in `Studio`, so that both start from the same noise.

    Args:
        progress: called after each prompt.

    Raises:
        SlotIDError: the server lacks a node of the workflow, does not answer, or was told to stop.
    """
    client = ComfyClient(address)
    missing = workflow.classes - client.object_info().keys()
    if missing:
        raise SlotIDError(
            f"ComfyUI at {address} has no node {', '.join(sorted(missing))}. Install the pack there, and look into "
            "its log if it is installed."
        )
    for number, subject in enumerate(subjects):
        places = [place for place in range(len(subject.prompts)) if records.read(subject, place) is None]
        if not places:
            continue
        file = client.upload(user_file(subject, records))
        for place in places:
            job = number * len(subject.prompts) + place
            records.write(subject, place, run_prompt(client, workflow, subject, place, file, seed + job, records))
            progress()


def user_file(subject: Subject, records: Records) -> Path:
    """The person's clip as a file: the scene and movement of the reference that `Studio` draws of them."""
    path = records.reference(subject)
    return path if path.is_file() else write_clip(path, subject.person, scene_seed(subject.seed, 0, part=1))


def run_prompt(
    client: ComfyClient, workflow: Workflow, subject: Subject, place: int, file: str, seed: int, records: Records
) -> Record:
    """One prompt to its end; a workflow that fails is a record as well."""
    started = time.monotonic()
    try:
        result = client.run(workflow.filled(file, subject.prompts[place], seed))
    except WorkflowError as error:
        if error.message == INTERRUPTED:
            raise
        return Record(str(error), time.monotonic() - started)
    seconds = time.monotonic() - started
    videos = files_of(result, workflow.save)
    if len(videos) != 1:
        raise SlotIDError(f"{workflow.name} saved {len(videos)} videos for one prompt; exactly one can be judged.")
    video = videos[0]
    shutil.rmtree(records.frames(subject, place), ignore_errors=True)  # of a run that was stopped here
    client.fetch(video, records.person(subject)).replace(records.video(subject, place))
    for entry in files_of(result, FRAMES):
        client.fetch(entry, records.frames(subject, place))
    for entry in files_of(result, PORTRAIT)[:1]:
        client.fetch(entry, records.person(subject)).replace(records.portrait(subject))
    return Record("", seconds)


def files_of(result: Result, node: str) -> list[dict]:
    return Result(result.prompt_id, {node: result.outputs.get(node, {})}).files()
