"""A real server that is watched: its folders, queue, memory, open files, threads and child processes."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from slotid_core.comfy_client import ComfyClient, ConnectionLost, WorkflowError
from slotid_core.comfy_server import ComfyServer
from slotid_core.errors import SlotIDError
from slotid_core.toy_world.random_checkpoints import random_checkpoints

from .outside import Outside, state_of, wait_for
from .table import LIMIT_SECONDS, Row
from .watched import Clock, memory_of

ANSWERS_WITHIN = 600.0  # seconds of the clock on the wall, after which a server is given up
CACHES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")
UNFINISHED = re.compile(r"\.part$|\.tmp$|^\.slotid|\.incomplete$")
RAW = re.compile(r"^(\w+Error|\w*Exception|\w+Expired): |Exception when validating|Exception in")


class WatchedServer:
    """Use as a context manager.

    Attributes:
        base: ComfyUI's folder, in which the prompts may read and write.
    """

    def __init__(self, folder: Path, outside: Outside):
        self.folder, self.base, self._outside = folder, folder / "comfyui", outside
        self.temporary = folder / "temporary"

    def __enter__(self) -> "WatchedServer":
        self.temporary.mkdir(parents=True, exist_ok=True)
        put_models(self.base)
        # What libraries keep from run to run is no leftover.
        extra = {name: str(self.folder / "caches") for name in CACHES} | {"TMPDIR": str(self.temporary)}
        with environment(self._outside.environment() | extra):
            self._server = ComfyServer(self.base).__enter__()
        assert self._server.process is not None
        self.pid = self._server.process.pid
        self.client = ComfyClient(self._server.address, timeout=ANSWERS_WITHIN)
        self._start = memory_of(self.pid)
        return self

    def __exit__(self, *exception) -> None:
        self._server.stop()

    def attempt(self, row: Row, case: str, graph: dict, limit: float = LIMIT_SECONDS) -> str:
        """Run a prompt, count what came of it, and give the result.

        Args:
            limit: seconds that it may take, those not counted in which the server waited for a processor.
        """
        clock = Clock(self.pid)
        try:
            self.client.run(graph)
            result, said = "accepted", ""
        except WorkflowError as error:
            result, said = ("crashed" if RAW.search(error.message) else "refused"), str(error)
        except ConnectionLost as error:
            result, said = ("hung" if "said nothing" in str(error) else "crashed"), str(error)
        except SlotIDError as error:  # an answer of the server that tells of no reason, such as 500
            result, said = "crashed", str(error)
        if clock.seconds() > limit:
            result, said = "hung", f"{clock.seconds():.1f} s, {said}"
        row.count(result, case, said[:300])
        return result

    def is_running(self) -> bool:
        return memory_of(self.pid) > 0  # what has ended holds none

    def is_idle(self) -> bool:
        queue = self.client.get("/queue")
        return not queue["queue_running"] and not queue["queue_pending"]

    def counts(self) -> dict[str, float]:
        """Open files, threads, and MiB of memory; asked of an idle server."""
        wait_for(self.is_idle, LIMIT_SECONDS)
        return {
            "open files": len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            "threads": len(list(Path(f"/proc/{self.pid}/task").iterdir())),
            "MiB": memory_of(self.pid),
        }

    def most_memory(self) -> float:
        """MiB above the start, the most until now."""
        return memory_of(self.pid, "VmHWM") - self._start

    def children(self) -> list[str]:
        """Commands of processes that the server has started and that still run."""
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdigit() and int(place.name) != self.pid:
                with contextlib.suppress(OSError, ValueError):
                    fields = (place / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.pid and fields[0] != "Z":
                        found.append((place / "cmdline").read_text().replace("\0", " ")[:100])
        return found

    def files(self) -> dict[str, tuple[int, int]]:
        return state_of([self.base, self.temporary])

    def unfinished(self) -> list[str]:
        """Temporary files and folders of writers, locks of runs, and whatever lies in the system's temporary folder."""
        names = [path for path in self.files() if UNFINISHED.search(os.path.basename(path))]
        return names + [str(path) for path in self.temporary.iterdir()]


def put_models(base: Path) -> None:
    """Tiny models under the names that the combos then offer."""
    checkpoints = random_checkpoints(base.parent / "checkpoints")
    files = {
        "diffusion_models/tiny_t2v": checkpoints.t2v,
        "vae/tiny_vae": checkpoints.vae,
        "text_encoders/tiny_text": checkpoints.text_encoder,
    }
    for name, source in files.items():
        target = base / "models" / f"{name}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """The variables of this process, and of what it starts, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
