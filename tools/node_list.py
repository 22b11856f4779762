"""Write node_list.json, which ComfyUI Manager's scanner reads: node ids and what they do.

python -m tools.node_list
"""

import json
import re
import tempfile
from pathlib import Path

from slotid_core.comfy_client import ComfyClient
from slotid_core.comfy_runtime import PACK
from slotid_core.comfy_server import ComfyServer


def main() -> None:
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        info = ComfyClient(server.address).object_info()
    ours = {name: info[name]["description"] for name in sorted(info) if re.match(r"(SlotID|Lynx|STDRC|LaVieID)", name)}
    (PACK / "node_list.json").write_text(json.dumps(ours, indent=2) + "\n")


if __name__ == "__main__":
    main()
