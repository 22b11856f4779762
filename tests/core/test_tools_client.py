"""What the client says when there is nobody to talk to, and how it reads a server's refusal."""

import socket

import pytest

from slotid_core.comfy_client import ComfyClient, ConnectionLost, refusal
from slotid_core.comfy_server import free_port
from slotid_core.errors import SlotIDError


@pytest.mark.parametrize("call", [lambda c: c.queue({}), lambda c: c.run({}), lambda c: c.object_info()])
def test_nobody_listens(call):
    with pytest.raises(ConnectionLost, match="No connection to ComfyUI at 127.0.0.1"):
        call(ComfyClient(f"127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("call", [lambda c: c.run({}), lambda c: c.object_info()])
def test_somebody_listens_and_says_nothing(call):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ConnectionLost, match="said nothing for 0.5 s"):
            call(ComfyClient(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5))


def test_a_refusal_names_every_node_that_is_wrong():
    def problem(class_type: str, *errors: tuple[str, str]) -> dict:
        return {"class_type": class_type, "errors": [{"message": m, "details": d} for m, d in errors]}

    reply = {
        "error": {"message": "Prompt outputs failed validation"},
        "node_errors": {
            "3": problem("KSampler", ("Value smaller than min", "steps: 0")),
            "7": problem("VAEDecode", ("Required input is missing", "vae"), ("Return type mismatch", "samples")),
        },
    }
    error = refusal(reply)
    assert isinstance(error, SlotIDError)
    assert (error.node_id, error.node_type) == ("3", "KSampler")
    assert str(error) == (
        "KSampler (node 3): Value smaller than min (steps: 0)\n"
        "VAEDecode (node 7): Required input is missing (vae); Return type mismatch (samples)"
    )


def test_a_refusal_without_nodes_gives_the_servers_sentence():
    assert str(refusal({"error": {"message": "Prompt has no outputs", "details": ""}})) == "Prompt has no outputs"
