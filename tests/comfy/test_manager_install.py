"""The pack as users get it: by ComfyUI Manager from a git address, and as the zip that the registry would hold.

Manager and comfy-cli run in environments of their own, as both bring packages that the tests must not see. Both are
told to stay offline; only the package index is needed. With MANAGER_SCANNER=path/to/scanner.py, from the Manager's
repository, its scanner itself reads the pack; neither its wheel nor its source archive contains that file, so without
it what is asked is what the scanner's map is made for: Manager finds the pack of each node of a workflow.
"""

import functools
import http.server
import json
import os
import shutil
import sysconfig
import threading
import urllib.request
import zipfile
from pathlib import Path

import pytest

from slotid_core.comfy_runtime import PACK, find_comfyui
from slotid_core.comfy_server import ComfyServer
from tools.published import copy_files, new_environment, published_files, repository_files, run

pytestmark = pytest.mark.slow
pytest.importorskip("uv")

MANAGER, COMFY_CLI = "comfyui-manager==4.3", "comfy-cli==1.23.0"
ADDRESS = "slot-id/slotid.git"
SETTINGS = "[default]\nnetwork_mode = offline\nuse_uv = True\n"
NODES = set(json.loads((PACK / "node_list.json").read_text()))
NO_DATA_OF_COMFYUI = shutil.ignore_patterns("custom_nodes", "models", "output", "input", "user", "temp", "__pycache__")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A git repository that holds the working tree, changes and all."""
    folder = copy_files(repository_files(), tmp_path_factory.mktemp("checkout") / "slotid")
    git = ("git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.com")
    run("git", "init", "--quiet", "--initial-branch", "main", folder)
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--no-verify", "--message", "the working tree")
    return folder


@pytest.fixture(scope="module")
def address(checkout, tmp_path_factory):
    """An address to clone it from: Manager takes URLs with a host, and git reads a bare repository over plain HTTP."""
    root = tmp_path_factory.mktemp("served")
    run("git", "clone", "--quiet", "--bare", checkout, root / ADDRESS)
    run("git", "-C", root / ADDRESS, "update-server-info")
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{ADDRESS}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def manager(tmp_path_factory) -> Path:
    """Python of an environment with Manager in it, which also sees the packages of this one, as ComfyUI's does."""
    python = new_environment(tmp_path_factory.mktemp("manager") / "venv", MANAGER)
    (packages(python) / "comfyui.pth").write_text(sysconfig.get_path("purelib"))
    return python


def packages(python: Path) -> Path:
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())


@pytest.fixture(scope="module")
def installed(manager, address, tmp_path_factory):
    """A ComfyUI into which Manager has installed the pack, and a function for more of Manager's commands."""
    comfyui = tmp_path_factory.mktemp("base") / "ComfyUI"
    shutil.copytree(find_comfyui(), comfyui, ignore=NO_DATA_OF_COMFYUI)
    (comfyui / "custom_nodes").mkdir()
    user = comfyui.parent / "manager"
    user.mkdir()
    (user / "config.ini").write_text(SETTINGS)
    environment = os.environ | {"COMFYUI_PATH": str(comfyui)}
    environment.pop("PYTHONPATH", None)

    def command(name: str, *arguments) -> str:
        options = ("--mode", "local", "--user-directory", user)
        return run(manager, "-m", "cm_cli", name, *arguments, *options, env=environment, cwd=comfyui.parent)

    print(command("install", address, "--exit-on-fail"))
    return comfyui, command


def test_manager_installs_the_pack_and_every_node_is_there(installed, manager):
    comfyui, _ = installed
    pack = comfyui / "custom_nodes" / "slotid"
    assert {file.relative_to(pack).as_posix() for file in pack.rglob("*") if file.is_file()} >= repository_files()
    ours = run(manager, "-m", "uv", "pip", "list", "--format", "freeze", "--python", manager)
    assert "scikit-image" in ours
    assert "torch==" not in ours
    assert_every_node_loads(comfyui)


def test_manager_finds_the_pack_of_every_node(installed, manager, address, tmp_path):
    _, command = installed
    found = scanned(manager, address, tmp_path) if os.environ.get("MANAGER_SCANNER") else listed(address)
    assert set(found[address][0]) == NODES
    # The map that Manager reads in local mode: in this test's own environment, so that it may be changed.
    known = packages(manager) / "comfyui_manager" / "extension-node-map.json"
    map_of_all = json.dumps(json.loads(known.read_text()) | found)
    known.unlink()  # the file may be a hard link into the installer's cache
    known.write_text(map_of_all)
    (tmp_path / "workflow.json").write_text(json.dumps({"nodes": [{"type": name} for name in sorted(NODES)]}))
    command("deps-in-workflow", "--workflow", tmp_path / "workflow.json", "--output", tmp_path / "packs.json")
    packs = json.loads((tmp_path / "packs.json").read_text())
    assert packs["unknown_nodes"] == []
    assert list(packs["custom_nodes"]) == [address]


def scanned(manager: Path, address: str, folder: Path) -> dict:
    (folder / "addresses.list").write_text(address + "\n")
    scanner = Path(os.environ["MANAGER_SCANNER"]).resolve()
    print(run(manager, scanner, "--scan-only", "addresses.list", "--temp-dir", folder / "clones", cwd=folder))
    return json.loads((folder / "extension-node-map.json").read_text())


def listed(address: str) -> dict:
    """The scanner's entry for a pack that has a node_list.json."""
    return {address: [sorted(NODES), {}]}


def test_registry_tool_accepts_the_pack_and_its_zip_loads(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    python = new_environment(folder / "venv", COMFY_CLI)
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "DO_NOT_TRACK": "1"}
    comfy = (python.parent / "comfy", "--skip-prompt", "--no-enable-telemetry", "node")
    said = run(*comfy, "validate", env=environment, cwd=checkout)
    assert "All validation checks passed" in said
    assert "Warning" not in said
    run(*comfy, "pack", env=environment, cwd=checkout)

    with zipfile.ZipFile(checkout / "node.zip") as archive:
        assert set(archive.namelist()) == published_files()
        archive.extractall(folder / "base" / "custom_nodes" / "slotid")
        unpacked = sum(entry.file_size for entry in archive.infolist()) / 2**20
        packed = (checkout / "node.zip").stat().st_size / 2**20
        print(f"pack: {len(archive.namelist())} files, {unpacked:.1f} MiB, zipped {packed:.1f} MiB")
    assert_every_node_loads(folder / "base")


def assert_every_node_loads(base: Path) -> None:
    with ComfyServer(base, link_pack=False) as server:
        with urllib.request.urlopen(f"http://{server.address}/object_info", timeout=60) as answer:
            missing = NODES - set(json.load(answer))
        assert not missing, f"{sorted(missing)}\n{server.log_tail(60)}"
