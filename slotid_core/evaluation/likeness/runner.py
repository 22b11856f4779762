"""Jobs over any number of ComfyUI servers: each is run once, a server that dies gives its job back.

One thread a server takes the next job of a common list. What has ended is a file named by the job's content, so a
stopped run goes on, and the same jobs over one server or many give the same folder.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ...comfy_client import ComfyClient, ConnectionLost, WorkflowError
from ...errors import SlotIDError
from ...files import read_json, write_json
from ..graph.run import files_of
from ..graph.workflow import Workflow
from .recipe import BenchmarkJob

INTERRUPTED = "interrupted"  # what the client says of a workflow that somebody stopped
TRIES = 3  # of one job on servers that died with it; then the job, not the server, is at fault
WAIT = 0.2  # seconds between looks for a job that a dying server may give back


class Runner:
    """
    Args:
        folder: gets `<key>.json` of each job, and its video, `<key>.mp4` or `<key>.webm`.
        addresses: "host:port" of running servers with the nodes of all workflows.
        silent_for: seconds without a word from a server after which it counts as dead.
    """

    def __init__(
        self, folder: Path, addresses: Sequence[str], workflows: dict[str, Workflow], silent_for: float = 600.0
    ):
        self.folder, self.addresses, self.workflows, self.silent_for = folder, addresses, workflows, silent_for
        self.waiting: queue.SimpleQueue[BenchmarkJob] = queue.SimpleQueue()
        self.left, self.tries = 0, {}
        self.lost: dict[str, str] = {}
        self.lock, self.stop = threading.Lock(), threading.Event()

    def video(self, job: BenchmarkJob) -> Path:
        return self.folder / f"{job.key}{self.workflows[job.workflow].suffix}"

    def record(self, job: BenchmarkJob) -> dict | None:
        """How a job ended: `error`, "" if there is a video, `seconds`, and the server; None if it has not yet."""
        path = self.folder / f"{job.key}.json"
        return read_json(path, "Delete it, and the job is run again.") if path.is_file() else None

    def run(self, jobs: Sequence[BenchmarkJob], progress: Callable[[], object] = lambda: None) -> None:
        """Every job that has not ended yet.

        Raises:
            SlotIDError: a server lacks a node, or all are lost before the end.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [job for job in {job.key: job for job in jobs}.values() if self.record(job) is None]
        if not missing:
            return
        for job in missing:
            self.waiting.put(job)
        self.left = len(missing)
        threads = [
            threading.Thread(target=self._serve, args=(address, progress), daemon=True) for address in self.addresses
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(WAIT)
        except BaseException:
            self.stop.set()
            raise
        if self.left:
            told = " ".join(f"{address}: {why}" for address, why in self.lost.items())
            raise SlotIDError(
                f"{self.left} of {len(missing)} jobs are left, and no server is. {told} Run it again to go on."
            )

    def _serve(self, address: str, progress: Callable[[], object]) -> None:
        client = ComfyClient(address, self.silent_for)
        uploaded: dict[Path, str] = {}
        try:
            self._check(client)
            while not self.stop.is_set() and self.left:
                try:
                    job = self.waiting.get(timeout=WAIT)
                except queue.Empty:
                    continue
                try:
                    self._one(client, job, uploaded)
                except ConnectionLost as error:
                    self._give_back(job, str(error))
                    raise
                except BaseException:
                    self.waiting.put(job)
                    raise
                with self.lock:
                    self.left -= 1
                progress()
        except SlotIDError as error:
            self.lost[address] = str(error)
        except Exception as error:  # a thread's error is otherwise lost
            self.lost[address] = f"{type(error).__name__}: {error}"

    def _check(self, client: ComfyClient) -> None:
        there = client.object_info().keys()
        missing = {name for workflow in self.workflows.values() for name in workflow.classes} - there
        if missing:
            raise SlotIDError(f"it has no node {', '.join(sorted(missing))}; install the pack there.")

    def _one(self, client: ComfyClient, job: BenchmarkJob, uploaded: dict[Path, str]) -> None:
        started = time.monotonic()
        workflow = self.workflows[job.workflow]
        if job.reference not in uploaded:
            uploaded[job.reference] = client.upload(job.reference)
        error = ""
        try:
            result = client.run(workflow.filled(uploaded[job.reference], job.prompt.text, job.seed))
            videos = files_of(result, workflow.save)
            if len(videos) == 1:
                client.fetch(videos[0], self.folder / job.key).replace(self.video(job))
                (self.folder / job.key).rmdir()
            else:
                error = f"{workflow.name} saved {len(videos)} videos where one is needed."
        except WorkflowError as problem:
            if problem.message == INTERRUPTED:  # by somebody at that server; the job itself may be right
                raise ConnectionLost("somebody interrupted it there.") from problem
            error = str(problem)
        write_json(
            self.folder / f"{job.key}.json",
            {
                "error": error, "seconds": time.monotonic() - started, "server": client.address, "row": job.workflow,
                "person": job.person, "prompt": job.prompt.text, "stratum": job.prompt.stratum, "seed": job.seed,
            },
        )  # fmt: skip

    def _give_back(self, job: BenchmarkJob, why: str) -> None:
        with self.lock:
            self.tries[job.key] = self.tries.get(job.key, 0) + 1
            spent = self.tries[job.key] >= TRIES
            self.left -= spent
        if spent:
            write_json(self.folder / f"{job.key}.json", {"error": f"{TRIES} servers were lost with it: {why}"})
        else:
            self.waiting.put(job)
