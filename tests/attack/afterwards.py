"""Good prompts on the server that was attacked: the same bits as from a fresh one, and no growth."""

import hashlib
import tempfile
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file

from slotid_core.errors import SlotIDError

from . import prompts
from .server import WatchedServer
from .table import Row

COUNT = 50
WARM_UP = 2 * len(prompts.KINDS)  # prompts, two of each kind: what is loaded once is then there
MORE = {"open files": 2, "threads": 2, "MiB": 200}  # that may be there afterwards than before the attack
STEADY = 64  # MiB by which the good prompts afterwards may raise the memory


def results(server: WatchedServer, numbers: range) -> list[str]:
    """The digest of what each good prompt has made."""
    return [digest(server, number) for number in numbers]


def digest(server: WatchedServer, number: int) -> str:
    result = server.client.run(prompts.good(number))
    with tempfile.TemporaryDirectory() as folder:
        made = [values_of(server.client.fetch(entry, Path(folder))) for entry in result.files()]
    if not made:
        raise SlotIDError(f"Good prompt {number} left no file.")
    return hashlib.sha256(b"\0".join(made)).hexdigest()


def values_of(file: Path) -> bytes:
    """A latent's numbers or a picture's pixels; what else a file holds names the server and the time."""
    if file.suffix == ".latent":
        return load_file(file)["latent_tensor"].numpy().tobytes()
    with Image.open(file) as picture:
        return picture.tobytes()


def check(count: int, server: WatchedServer, fresh: list[str], before: dict[str, float]) -> Row:
    """
    Args:
        fresh: digests of the same prompts on a server that nobody attacked.
        before: the server's counts after its warm-up, before the attack.
    """
    row = Row("good prompts afterwards")
    middle: dict[str, float] = {}
    for number in range(count):
        try:
            same = digest(server, number) == fresh[number]
            row.count("accepted" if same else "crashed", f"good prompt {number}", "" if same else "other bits")
        except SlotIDError as error:
            row.count("crashed", f"good prompt {number}", str(error)[:300])
        if not server.is_running():
            return row  # what crashed is counted, and nothing else can be
        if number == min(WARM_UP, count) - 1:
            middle = server.counts()
    after = server.counts()
    grown = [
        f"{what} {before[what]:.0f} -> {after[what]:.0f}" for what in MORE if after[what] - before[what] > MORE[what]
    ]
    if after["MiB"] - middle["MiB"] > STEADY:
        grown.append(f"MiB {middle['MiB']:.0f} -> {after['MiB']:.0f} while nothing but good prompts ran")
    row.add("left", "since before the attack", grown)
    row.notes = f"before the attack {told(before)}; after it {told(middle)}; at the end {told(after)}"
    row.memory = server.most_memory()
    return row


def told(counts: dict[str, float]) -> str:
    return ", ".join(f"{value:.0f} {what}" for what, value in counts.items())
