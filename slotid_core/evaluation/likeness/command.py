"""`evaluation videos`: real videos against references of the people that they should show."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ...errors import SlotIDError
from ...files import write_json, write_text
from ...folder_lock import only_run_in
from ...recognisers.recogniser import Recogniser
from ...recognisers.recognisers import BACKENDS, find_recognisers
from .face_sets import FACE_FID, Inception, face_set_figures, faces_of, frechet_key
from .frames import read_video
from .jobs import Job, jobs_of_folders, jobs_of_list, read_prompts
from .judgements import Judge
from .networks import Networks
from .page import markdown, write_page
from .people import Person, person_of, reference_pictures
from .results import Result, content_key, keep, kept, summary
from .score import conditioned_by, score_video

if TYPE_CHECKING:
    from argparse import Namespace, _SubParsersAction


def add_videos(commands: "_SubParsersAction") -> None:
    videos = commands.add_parser("videos", help="real videos against references of the people in them")
    videos.add_argument(
        "--videos", type=Path, action="append", default=[], help="folder of videos; again for more rows"
    )
    videos.add_argument("--references", type=Path, help="folder of a picture, clip or folder for each person")
    videos.add_argument(
        "--list", type=Path, help="instead of both: a .jsonl with video, references, row, prompt a line"
    )
    videos.add_argument("--prompts", type=Path, help="JSON object: name of a video -> its prompt")
    videos.add_argument("--recognisers", default="", help=f"some of {', '.join(BACKENDS)}; default: all that can run")
    videos.add_argument("--models", type=Path, action="append", default=[], help="folder of network files; repeatable")
    videos.add_argument("--conditioned", default="", help="recognisers from whose embedding the videos were made")
    videos.add_argument("--system", default="", help="the system that made the videos; says what conditioned them")
    videos.add_argument("--judge", default="", metavar="ADDRESS", help="OpenAI-compatible address that grades videos")
    videos.add_argument("--judge-model", default="", help="name of the model there; its key is in SLOTID_JUDGE_KEY")
    videos.add_argument("--looks", type=int, default=0, help="frames looked at beside the published 32; -1 all")
    videos.add_argument("--folder", type=Path, help="keeps a result a video; a stopped run given it again goes on")
    videos.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    videos.add_argument("--markdown", type=Path, help="write the table to this file")
    videos.add_argument("--page", type=Path, help="write a page with every video's curve to this .html")
    videos.set_defaults(run=evaluate_videos)


def evaluate_videos(options: "Namespace") -> None:
    if bool(options.list) == bool(options.videos):
        raise SlotIDError("Give --videos with --references, or --list.")
    if options.videos and not options.references:
        raise SlotIDError("Give --references: a folder with a picture, clip or folder for each person.")
    jobs = (
        jobs_of_list(options.list) if options.list
        else jobs_of_folders(options.videos, options.references, read_prompts(options.prompts))
    )  # fmt: skip
    recognisers, missing = find_recognisers([n for n in options.recognisers.split(",") if n], options.models)
    conditioned = [name for name in options.conditioned.split(",") if name] + list(conditioned_by(options.system))
    networks = Networks(options.models)
    settings = {
        "looks": options.looks, "conditioned": sorted(conditioned), "networks": sorted(networks.places),
        "inception": networks.inception is not None, "judge": options.judge_model if options.judge else "",
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slotid-videos-")))
        stack.enter_context(only_run_in(folder))
        try:
            judge = Judge(options.judge, options.judge_model, folder / "judgements") if options.judge else None
            results, failed, faces = score_all(jobs, recognisers, settings, folder, networks, judge)
        except KeyboardInterrupt:
            how = f"run it again to go on from {folder}" if options.folder else "with --folder it could go on"
            raise SlotIDError(f"stopped; {how}.") from None
    figures = summary(results) | faces
    described = {recogniser.name: recogniser.description for recogniser in recognisers}
    missing |= networks.missing | failed
    text = markdown(figures, described, missing)
    print(text)
    if options.json:
        write_json(options.json, figures)
    if options.markdown:
        write_text(options.markdown, text)
    if options.page:
        write_page(options.page, figures, results, described, missing)
    if not results:
        raise SlotIDError("no video could be scored; the reasons are above.")


def score_all(
    jobs: list[Job],
    recognisers: list[Recogniser],
    settings: dict,
    folder: Path,
    networks: Networks | None = None,
    judge: Judge | None = None,
) -> tuple[list[Result], dict[str, str], dict[str, float]]:
    """Results of all videos, those that are kept in the folder taken from there; what could not be scored, why; and
    the figures of each row's faces together.
    """
    inception = networks.inception if networks else None
    people = People(recognisers, inception)
    results, failed = [], {}
    for job in tqdm(jobs, desc="videos"):
        key = content_key(job, recognisers, settings)
        result = kept(folder, key, job)
        if result is None:
            try:
                able, wanted = people.of(job)
                frames = read_video(job.video)
                scored = score_video(frames, wanted, able, settings["looks"], settings["conditioned"])
                if networks is not None:
                    scored.figures.update(networks.figures(frames, job.prompt))
                if judge is not None:
                    scored.figures.update(judge.grades(frames, job.prompt))
            except SlotIDError as error:
                failed[f"{job.row}/{job.video.name}"] = str(error)
                continue
            faces = faces_of(scored, frames, able, settings["conditioned"], inception)
            result = keep(folder, key, job, scored, faces)
        results.append(result)
    return results, failed, face_set_figures(results, people.features(results, settings["conditioned"]))


class People:
    """People as each recogniser knows them, looked at once."""

    def __init__(self, recognisers: list[Recogniser], inception: Inception | None = None):
        self.recognisers, self.inception = recognisers, inception
        self.known: dict[tuple, Person | SlotIDError] = {}

    def of(self, job: Job) -> tuple[list[Recogniser], dict[str, list[Person]]]:
        """The recognisers that find all faces of the references, and the people.

        Raises:
            SlotIDError: none does.
        """
        wanted: dict[str, list[Person]] = {}
        reasons = []
        for recogniser in self.recognisers:
            try:
                wanted[recogniser.name] = [self.person(recogniser, name, paths) for name, paths in job.people.items()]
            except SlotIDError as error:
                reasons.append(str(error))
        if not wanted:
            raise SlotIDError(" ".join(reasons))
        return [recogniser for recogniser in self.recognisers if recogniser.name in wanted], wanted

    def person(self, recogniser: Recogniser, name: str, paths: list[Path]) -> Person:
        key = (recogniser.name, name, *map(str, paths))
        if key not in self.known:
            try:
                self.known[key] = person_of(
                    name, recogniser, reference_pictures(paths), crop=self.inception is not None
                )
            except SlotIDError as error:
                self.known[key] = error
        found = self.known[key]
        if isinstance(found, SlotIDError):
            raise found
        return found

    def features(self, results: list[Result], conditioned: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
        """Of the people of some videos the features of their references' faces, for `face_set_figures`."""
        found: dict[tuple[str, str], np.ndarray] = {}
        for job in {tuple(result.job.people): result.job for result in results}.values():
            able, wanted = self.of(job)
            for recogniser in able:
                for person in wanted[recogniser.name]:
                    found[frechet_key(recogniser.name, conditioned), person.name] = person.vectors
            if self.inception is not None:
                for person in wanted[able[0].name]:
                    found[FACE_FID, person.name] = self.inception.features(person.crops)
        return found
