"""What the page asks for: scripts of its panels; saved people, and renaming, copying, setting aside or adding one.

Names are judged as those of save and load nodes are. Files that come with the pack, or lie in further folders of
`extra_model_paths.yaml`, are shown and not changed. Nothing is lost: a deleted file stays beside the others with
another ending.
"""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import folder_paths
from aiohttp import web

from ...slotid_core.errors import SlotIDError
from ...slotid_core.files import whole_file
from ...slotid_core.paths import free_path
from ...slotid_core.provenance import KEY, sources_of
from ...slotid_core.weights import naming, peek_header
from ..shared import paths
from ..shared.files import JPEG, KINDS, NAMING, PICTURE, FileKind, copy_whole

SET_ASIDE = ".deleted"
VERDICT_LENGTH = 200  # characters
LARGEST = 2**31  # bytes of a file that is added
SCRIPTS = Path(__file__).parents[2] / "web"


def people(kind: FileKind) -> list[dict]:
    """All files of a kind, with what they say of themselves; the order is that of the load node."""
    return [_entry(kind, name) for name in paths.file_names(kind.category)]


def _entry(kind: FileKind, name: str) -> dict:
    entry: dict = {"name": name, "ours": False}
    try:
        path = Path(kind.path(name))
        header = peek_header(path)
        entry |= {"ours": _is_ours(kind, path), "bytes": path.stat().st_size, "kind": str(header.get("kind", ""))}
    except (SlotIDError, OSError) as error:
        return entry | {"problem": str(error)}
    source = header.get("source")
    source = source if isinstance(source, dict) else {}
    facts = {KEY: _provenance(source.get(KEY)), PICTURE: _picture(source.get(PICTURE))}
    facts = {key: value for key, value in facts.items() if value}
    model = {key: header[key] for key in ("model_width", "model_depth", "adapter_fingerprint") if header.get(key)}
    return entry | facts | {"model": model, "verdict": _verdict(source.get("report"))}


def _provenance(found: object) -> dict:
    """Text alone, as the page draws it: anybody may have written the file."""
    if not isinstance(found, dict):
        return {}
    texts = {key: found[key] for key in ("made", "consent") if isinstance(found.get(key), str)}
    return texts | {"sources": [{"name": str(one.get("name", ""))} for one in sources_of(found)]}


def _picture(found: object) -> str:
    """The small picture that is in the file itself; an address would be asked for by every page that lists it."""
    return found if isinstance(found, str) and found.startswith(JPEG) else ""


def _verdict(report: object) -> str:
    """What the reference report says in one word; "" where there is none."""
    try:
        found = json.loads(str(report or "{}"))
    except (ValueError, RecursionError):
        return ""
    return str(found.get("verdict", ""))[:VERDICT_LENGTH] if isinstance(found, dict) else ""


def _is_ours(kind: FileKind, path: Path) -> bool:
    folder = _folder(kind)
    return path.is_relative_to(folder) and path.resolve().is_relative_to(folder.resolve())


def _folder(kind: FileKind) -> Path:
    return Path(folder_paths.get_folder_paths(kind.category)[0])


def _own(kind: FileKind, name: str) -> Path:
    """The file of that name, which may be changed.

    Raises:
        SlotIDError: there is none, or it is not in the first folder of its kind.
    """
    path = Path(kind.path(name))
    if not _is_ours(kind, path):
        raise SlotIDError(f"{name} comes with the pack or lies in a shared folder. Duplicate it, and change the copy.")
    return path


def rename(kind: FileKind, name: str, to: str) -> str:
    path = _own(kind, name)
    target = path.with_name(paths.new_name(kind.what, to) + paths.WEIGHTS)
    with NAMING:
        if os.path.lexists(target):
            raise SlotIDError(f"There is a file {target.name} already. Choose another name.")
        os.rename(path, target)
    return _name(kind, target)


def duplicate(kind: FileKind, name: str, to: str = "") -> str:
    source = Path(kind.path(name))
    with NAMING:
        target = Path(paths.new_path(kind.category, kind.what, to or source.stem))
        copy_whole(source, target)
    return _name(kind, target)


def delete(kind: FileKind, name: str, to: str = "") -> str:
    """Set it aside; gives the name of what stays."""
    path = _own(kind, name)
    with NAMING:
        target = Path(free_path(path.parent, path.name, SET_ASIDE))
        os.rename(path, target)
    return target.name


def add(kind: FileKind, name: str, content: Callable[[int], bytes]) -> str:
    """A file that somebody dropped; it is looked at before it gets its name."""
    name = Path(name.replace("\\", "/")).name
    with NAMING:
        target = Path(paths.new_path(kind.category, kind.what, name))
        _receive(target, name, content)
    return _name(kind, target)


def _receive(target: Path, name: str, content: Callable[[int], bytes]) -> None:
    with whole_file(target, ending="") as unfinished:
        size = 0
        with unfinished.open("wb") as file:
            while part := content(2**20):
                size += len(part)
                if size > LARGEST:
                    raise SlotIDError(f"{name} is larger than {LARGEST >> 30} GB; this is no person's file.")
                file.write(part)
        with naming(name):
            peek_header(unfinished)


def _name(kind: FileKind, path: Path) -> str:
    return str(path.relative_to(_folder(kind)))  # as ComfyUI lists it, on Windows with backslashes


ACTIONS = {"rename": rename, "duplicate": duplicate, "delete": delete}


def register(routes: web.RouteTableDef) -> None:
    # Not in the folder whose every script ComfyUI loads when its page opens.
    routes.static("/slotid/scripts", SCRIPTS)

    @routes.get("/slotid/people/{category}")
    async def listed(request):
        return await _answer(lambda: {"people": people(_kind(request))})

    @routes.post("/slotid/people/{category}/{action}")
    async def changed(request):
        if request.content_type != "application/json":  # what another site may send without being asked is refused
            return web.json_response({"error": "JSON is needed."}, status=415)
        try:
            asked = await request.json()
            name, to = str(asked["name"]), str(asked.get("to", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.json_response({"error": "A JSON object with a name is needed."}, status=400)
        action = ACTIONS.get(request.match_info["action"])
        if action is None:
            return web.json_response({"error": "There is no such action."}, status=404)
        return await _answer(lambda: {"name": action(_kind(request), name, to)})

    @routes.post("/slotid/people/{category}")
    async def added(request):
        if request.headers.get("X-SlotID") != "add":  # as above: a form of another site cannot set it
            return web.json_response({"error": "The page sends this itself."}, status=403)
        fields = await request.post()
        field = fields.get("file")
        if not isinstance(field, web.FileField):
            return web.json_response({"error": "A file is needed."}, status=400)
        return await _answer(lambda: {"name": add(_kind(request), field.filename, field.file.read)})


def _kind(request) -> FileKind:
    category = request.match_info["category"]
    if category not in KINDS:
        raise SlotIDError(f"There are no people in {category!r}.")
    return KINDS[category]


async def _answer(work: Callable[[], dict]) -> web.Response:
    try:
        return web.json_response(await asyncio.to_thread(work))
    except (SlotIDError, OSError) as error:
        return web.json_response({"error": str(error)}, status=400)
