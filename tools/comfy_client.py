"""A small client of ComfyUI's HTTP and websocket interface: upload, queue, watch, fetch."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests
import websocket

from slotid_core.errors import SlotIDError

Progress = Callable[[str, int, int], None]


class WorkflowError(SlotIDError):
    """The server refused or failed a workflow; `node_id`, `node_type` and `message` say where and why."""

    def __init__(self, message: str, node_id: str = "", node_type: str = ""):
        where = f"{node_type} (node {node_id}): " if node_type else ""
        super().__init__(where + message)
        self.message, self.node_id, self.node_type = message, node_id, node_type


@dataclass
class Result:
    """What a finished workflow left: `outputs` by node id as the server tells them, files fetched by `fetch`."""

    prompt_id: str
    outputs: dict
    cached: set[str] = field(default_factory=set)

    def files(self) -> list[dict]:
        """Every saved file: filename, subfolder, type."""
        entries = (item for output in self.outputs.values() for value in output.values() for item in value)
        return [entry for entry in entries if isinstance(entry, dict) and "filename" in entry]


class ComfyClient:
    def __init__(self, address: str, timeout: float = 600.0):
        self.address, self.timeout = address, timeout
        self.client_id = uuid.uuid4().hex

    def _url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def get(self, path: str, **parameters):
        response = requests.get(self._url(path), params=parameters, timeout=self.timeout)
        response.raise_for_status()
        return response.json()

    def object_info(self) -> dict:
        return self.get("/object_info")

    def upload(self, path: Path, subfolder: str = "") -> str:
        """Put a file into ComfyUI's input folder, as a browser would; returns the name to use in a workflow."""
        with Path(path).open("rb") as file:
            response = requests.post(
                self._url("/upload/image"),
                files={"image": (Path(path).name, file)},
                data={"subfolder": subfolder, "overwrite": "true"},
                timeout=self.timeout,
            )
        response.raise_for_status()
        reply = response.json()
        return f"{reply['subfolder']}/{reply['name']}" if reply["subfolder"] else reply["name"]

    def queue(self, workflow: dict) -> str:
        response = requests.post(
            self._url("/prompt"), json={"prompt": workflow, "client_id": self.client_id}, timeout=self.timeout
        )
        if response.status_code != 200:
            raise refusal(response.json())
        return response.json()["prompt_id"]

    def interrupt(self) -> None:
        requests.post(self._url("/interrupt"), timeout=self.timeout).raise_for_status()

    def run(self, workflow: dict, progress: Progress | None = None) -> Result:
        """Queue a workflow and wait for its end.

        Args:
            progress: called with (node class, step, steps) as the server reports it.

        Raises:
            WorkflowError: a node failed, the workflow is not valid, or it was interrupted.
        """
        socket = websocket.create_connection(f"ws://{self.address}/ws?clientId={self.client_id}", timeout=self.timeout)
        try:
            return self._watch(socket, self.queue(workflow), workflow, progress)
        finally:
            socket.close()

    def _watch(self, socket, prompt_id: str, workflow: dict, progress: Progress | None) -> Result:
        cached: set[str] = set()
        while True:
            message = socket.recv()
            if isinstance(message, bytes):  # a preview picture
                continue
            event = json.loads(message)
            data = event.get("data", {})
            if data.get("prompt_id") != prompt_id:
                continue
            if event["type"] == "execution_error":
                message = f"{data['exception_type'].rsplit('.', 1)[-1]}: {data['exception_message'].strip()}"
                raise WorkflowError(message, data["node_id"], data["node_type"])
            if event["type"] == "execution_interrupted":
                raise WorkflowError("interrupted", data.get("node_id", ""), data.get("node_type", ""))
            if event["type"] == "execution_cached":
                cached.update(data["nodes"])
            if event["type"] == "progress" and progress:
                progress(node_class(workflow, data.get("node")), data["value"], data["max"])
            if event["type"] == "executing" and data.get("node") is None:  # sent once the history holds the outputs
                outputs = self.get(f"/history/{prompt_id}")[prompt_id]["outputs"]
                return Result(prompt_id, outputs, cached)

    def fetch(self, entry: dict, folder: Path) -> Path:
        """Download one of `Result.files()`."""
        parameters = {key: entry.get(key, "") for key in ("filename", "subfolder", "type")}
        response = requests.get(self._url("/view"), params=parameters, timeout=self.timeout)
        response.raise_for_status()
        path = Path(folder) / entry["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(response.content)
        return path


def node_class(workflow: dict, node_id: str | None) -> str:
    return workflow.get(str(node_id), {}).get("class_type", "")


def refusal(reply: dict) -> WorkflowError:
    """The server's answer to a workflow that is not valid, in words."""
    for node_id, problem in (reply.get("node_errors") or {}).items():
        details = "; ".join(f"{error['message']} ({error['details']})" for error in problem["errors"])
        return WorkflowError(details, node_id, problem["class_type"])
    error = reply.get("error", {})
    message = error if isinstance(error, str) else f"{error.get('message')} {error.get('details', '')}"
    return WorkflowError(message.strip())
