"""Nothing is downloaded: only named modules may reach the network, and no call that fetches files is there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Modules of Python and of others that open connections.
NETWORK = {
    "socket", "ssl", "http", "urllib", "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc", "socketserver", "asyncio",
    "requests", "urllib3", "httpx", "aiohttp", "websocket", "websockets", "paramiko", "boto3", "botocore", "fsspec",
    "huggingface_hub", "transformers", "diffusers", "datasets", "timm", "gdown", "wget", "ray",
}  # fmt: skip
# What may use them, and what of them.
ALLOWED = {
    "nodes/library/routes.py": {"aiohttp", "asyncio"},  # answers what the page asks its own server
    "slotid_core/comfy_client.py": {"requests", "websocket"},  # talks to the ComfyUI that a command names
    "slotid_core/comfy_server.py": {"socket", "urllib.error", "urllib.request"},  # asks the server that it has started
    "slotid_core/dataset/ray_runner.py": {"ray", "ray.data", "ray.exceptions"},  # a cluster that a command names
    "slotid_core/evaluation/likeness/judgements.py": {"requests"},  # an address that a command names
    "slotid_core/evaluation/likeness/networks.py": {"transformers"},  # networks from folders
    "slotid_core/folder_lock.py": {"socket"},  # its own name only: see below
    "slotid_core/this_process.py": {"socket"},  # the same
}
FROM_FOLDERS = "slotid_core/evaluation/likeness/networks.py"
NAME_ONLY = ("slotid_core/folder_lock.py", "slotid_core/this_process.py")
# Calls by which libraries fetch files, whoever imports these.
FETCHING = {
    "from_pretrained", "hf_hub_download", "snapshot_download", "load_state_dict_from_url", "download_url_to_file",
    "load_file_from_url", "urlretrieve", "urlopen", "get_model_file", "ensure_available",
}  # fmt: skip
PROGRAMS = {"curl", "wget", "aria2c", "git", "pip", "hf", "huggingface-cli"}


def sources() -> dict[str, ast.Module]:
    paths = [
        ROOT / "__init__.py",
        *(path for folder in ("slotid_core", "nodes") for path in (ROOT / folder).rglob("*.py")),
    ]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imported(tree: ast.Module) -> set[str]:
    """Modules that a file imports anywhere in it, also by `import_module` with a text."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module or ""}
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in ("torch", "urllib")}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


def test_only_named_modules_import_what_opens_connections():
    found = {
        name: {module for module in imported(tree) if module.split(".")[0] in NETWORK}
        for name, tree in sources().items()
    }
    assert {name: modules for name, modules in found.items() if modules} == ALLOWED


@pytest.mark.parametrize("name", NAME_ONLY)
def test_modules_that_ask_for_the_hosts_name_ask_for_nothing_else(name):
    used = {
        node.attr
        for node in ast.walk(sources()[name])
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "socket"
    }
    assert used == {"gethostname"}


def test_nothing_calls_what_fetches_files():
    found = set()
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.hub":
                found.add((name, "torch.hub"))
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).split(".")[-1]
                first = node.args[0] if node.args else None
                program = first.elts[0] if isinstance(first, ast.List) and first.elts else first
                if called in FETCHING:
                    found.add((name, called))
                if isinstance(program, ast.Constant) and str(program.value).split(" ")[0] in PROGRAMS:
                    found.add((name, program.value))
    assert found == {
        ("slotid_core/comfy_server.py", "urlopen"),  # of the server that it has started
        (FROM_FOLDERS, "from_pretrained"),  # of a folder: see below
    }


def test_the_one_loader_of_a_library_is_kept_to_local_files():
    calls = [node for node in ast.walk(sources()[FROM_FOLDERS]) if isinstance(node, ast.Call)]
    (loader,) = [node for node in calls if ast.unparse(node.func).endswith("from_pretrained")]
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in loader.keywords}
    assert given["local_files_only"] == "True"
