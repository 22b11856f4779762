"""The words of the nodes in several languages, as ComfyUI's page reads them in `locales/LANGUAGE/nodeDefs.json`.

    python -m tools.locales          # English from the schemas; carry the other languages over

A translation belongs to an English text. When that text has changed, so that the translation may say something else, it
is left out here and named, and the page shows English. Write the new one into the language's file, and run this again.
Sockets keep their names in every language, because prompts, messages and help pages call them by these.
"""

import json
import sys
import tempfile
from pathlib import Path

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer
from slotid_core.files import whole_file

LOCALES = PACK / "locales"
LANGUAGES = ("zh", "ja", "de", "fr", "es")
PREFIXES = ("SlotID", "Lynx", "STDRC", "LaVieID")
# What the page's message format gives a meaning; in quotes and braces it is read as it stands.
ESCAPED = {sign: "{'" + sign + "'}" for sign in "{}@|"}


def escaped(text: str) -> str:
    return "".join(ESCAPED.get(sign, sign) for sign in text)


def definitions(info: dict) -> dict:
    """nodeDefs.json in English, from what /object_info tells of the nodes."""
    return {name: _definition(info[name]) for name in sorted(info) if name.startswith(PREFIXES)}


def _definition(node: dict) -> dict:
    sockets = {**node["input"].get("required", {}), **node["input"].get("optional", {})}
    tooltips = {name: escaped(options[0]["tooltip"]) for name, (_, *options) in sockets.items()}
    outputs = {str(place): {"tooltip": escaped(text)} for place, text in enumerate(node["output_tooltips"])}
    return {
        "display_name": escaped(node["display_name"]),
        "description": escaped(node["description"]),
        "inputs": {name: {"tooltip": text} for name, text in tooltips.items()},
        "outputs": outputs,
    }


def texts(tree: dict, *path: str) -> dict[tuple[str, ...], str]:
    """Each text by the keys that lead to it."""
    found = {}
    for key, value in tree.items():
        found |= texts(value, *path, key) if isinstance(value, dict) else {(*path, key): value}
    return found


def tree(found: dict[tuple[str, ...], str]) -> dict:
    made: dict = {}
    for (*path, last), text in found.items():
        place = made
        for key in path:
            place = place.setdefault(key, {})
        place[last] = text
    return made


def carried_over(before: dict, english: dict, translation: dict) -> dict:
    """The translation of a new English from that of the one before: what says the same, wherever it stands now."""
    old, there = texts(before), texts(translation)
    known = {old[path]: text for path, text in there.items() if path in old}
    return tree({path: known[text] for path, text in texts(english).items() if text in known})


def read(language: str, name: str) -> dict:
    path = LOCALES / language / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(language: str, name: str, content: dict) -> None:
    path = LOCALES / language / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        Path(unfinished).write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        english = definitions(ComfyClient(server.address).object_info())
    before = read("en", "nodeDefs.json")
    for language in LANGUAGES:
        translation = carried_over(before, english, read(language, "nodeDefs.json"))
        write(language, "nodeDefs.json", translation)
        missing = texts(english).keys() - texts(translation).keys()
        print(f"{language}: {len(missing)} of {len(texts(english))} texts are not translated")
        for path in sorted(missing):
            print("   ", ".".join(path))
    write("en", "nodeDefs.json", english)
    return 0


if __name__ == "__main__":
    sys.exit(main())
