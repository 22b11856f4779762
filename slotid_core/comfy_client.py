"""A small client of ComfyUI's HTTP and websocket interface: upload, queue, watch, fetch."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests
import websocket

from .errors import SlotIDError
from .files import whole_file

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


class ConnectionLost(SlotIDError):
    """The server does not answer, or stopped answering."""


class ComfyClient:
    """Talks to the ComfyUI at `address` ("host:port"); `timeout` is how many seconds it may stay silent."""

    def __init__(self, address: str, timeout: float = 600.0):
        self.address, self.timeout = address, timeout
        self.client_id = uuid.uuid4().hex

    def _url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def _request(self, method: str, path: str, **arguments) -> requests.Response:
        with connected(self.address, self.timeout):
            response = requests.request(method, self._url(path), timeout=self.timeout, **arguments)
        refused = path == "/prompt" and response.status_code == 400  # answered with reasons, which `queue` reads
        if response.status_code >= 400 and not refused:
            raise SlotIDError(f"ComfyUI answered {method} {path} with {response.status_code} {response.reason}.")
        return response

    def get(self, path: str, **parameters):
        return self._request("GET", path, params=parameters).json()

    def get_text(self, path: str) -> str:
        return self._request("GET", path).text

    def object_info(self) -> dict:
        return self.get("/object_info")

    def upload(self, path: Path, subfolder: str = "") -> str:
        """Put a file into ComfyUI's input folder, as a browser would; returns the name to use in a workflow."""
        with Path(path).open("rb") as file:
            form = {"subfolder": subfolder, "overwrite": "true"}
            files = {"image": (Path(path).name, file)}
            reply = self._request("POST", "/upload/image", files=files, data=form).json()
        return f"{reply['subfolder']}/{reply['name']}" if reply["subfolder"] else reply["name"]

    def queue(self, workflow: dict) -> str:
        """Hand a workflow to the server; returns its prompt id.

        Raises:
            WorkflowError: the server refuses it, or would run only a part of it.
        """
        response = self._request("POST", "/prompt", json={"prompt": workflow, "client_id": self.client_id})
        reply = response.json()
        if response.status_code != 200:
            raise refusal(reply)
        if reply.get("node_errors"):  # the server accepts what has one valid output, and leaves out the rest
            self.cancel(reply["prompt_id"])
            raise refusal(reply)
        return reply["prompt_id"]

    def interrupt(self) -> None:
        """Stop what the server is doing now, whoever queued it."""
        self._request("POST", "/interrupt")

    def cancel(self, prompt_id: str) -> None:
        """Take one workflow off the queue, or stop it if it runs; others go on."""
        self._request("POST", "/queue", json={"delete": [prompt_id]})
        if any(prompt_id in item for item in self.get("/queue")["queue_running"]):
            self._request("POST", "/interrupt", json={"prompt_id": prompt_id})

    def run(self, workflow: dict, progress: Progress | None = None) -> Result:
        """Queue a workflow and wait for its end.

        Args:
            progress: called with (node class, step, steps) as the server reports it.

        Raises:
            WorkflowError: a node failed, the workflow is not valid, or it was interrupted.
        """
        url = f"ws://{self.address}/ws?clientId={self.client_id}"
        with connected(self.address, self.timeout):
            socket = websocket.create_connection(url, timeout=self.timeout)
        with contextlib.closing(socket):
            prompt_id = self.queue(workflow)
            try:
                return self._watch(socket, prompt_id, workflow, progress)
            except KeyboardInterrupt:
                self.cancel(prompt_id)
                raise

    def _watch(self, socket, prompt_id: str, workflow: dict, progress: Progress | None) -> Result:
        cached: set[str] = set()
        while True:
            with connected(self.address, self.timeout):
                message = socket.recv()
            if isinstance(message, bytes):  # a preview picture
                continue
            event = json.loads(message)
            data = event.get("data", {})
            if data.get("prompt_id") != prompt_id:
                continue
            if event["type"] == "execution_error":
                error_class = data["exception_type"].rsplit(".", 1)[-1]
                message = data["exception_message"].strip()
                # Our own errors are sentences for people; of others the class may be the only thing they say.
                text = message if error_class == SlotIDError.__name__ else f"{error_class}: {message}"
                raise WorkflowError(text, data["node_id"], data["node_type"])
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
        """Download one of `Result.files()`; the file appears whole or not at all."""
        parameters = {key: entry.get(key, "") for key in ("filename", "subfolder", "type")}
        content = self._request("GET", "/view", params=parameters).content
        path = Path(folder) / Path(entry["filename"]).name
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content)
        return path


@contextlib.contextmanager
def connected(address: str, timeout: float) -> Iterator[None]:
    """Say in words that there is no connection, or no longer one."""
    try:
        yield
    except (requests.Timeout, websocket.WebSocketTimeoutException):
        raise ConnectionLost(f"ComfyUI at {address} said nothing for {timeout:g} s. Look into its log.") from None
    except (requests.ConnectionError, websocket.WebSocketException, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ConnectionLost(f"No connection to ComfyUI at {address} ({reason}). Is it running?") from None


def node_class(workflow: dict, node_id: str | None) -> str:
    return workflow.get(str(node_id), {}).get("class_type", "")


def refusal(reply: dict) -> WorkflowError:
    """The server's answer to a workflow that is not valid, in words: every node that is wrong, the first one named."""
    problems = {
        node_id: (problem["class_type"], "; ".join(f"{e['message']} ({e['details']})" for e in problem["errors"]))
        for node_id, problem in (reply.get("node_errors") or {}).items()
    }
    if problems:
        (first, (first_type, text)), *others = problems.items()
        text += "".join(f"\n{node_type} (node {node_id}): {what}" for node_id, (node_type, what) in others)
        return WorkflowError(text, first, first_type)
    error = reply.get("error", {})
    message = error if isinstance(error, str) else f"{error.get('message')} {error.get('details', '')}"
    return WorkflowError(message.strip())
