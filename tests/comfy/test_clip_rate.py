"""Encode Reference reads a clip at the adapter's rate, or says on the node why it does not."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import websocket
from graphs import node


@pytest.fixture(scope="module")
def vae(pack_module, tmp_path_factory):
    import comfy.sd
    import comfy.utils

    files = pack_module("slotid_core.toy_world.random_checkpoints").random_checkpoints(tmp_path_factory.mktemp("vae"))
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(files.vae)))


@pytest.fixture(scope="module")
def encode(pack_module, vae):
    """(frames, fps, adapter's rate) -> clip latents."""
    config = pack_module("slotid_core.systems.slot_id").AdapterConfig.for_model(64, 2)
    config = replace(config, reference_size=32, reference_frames=9, portrait_size=32)
    encode_reference = pack_module("nodes.slot_id.encode").SlotIDEncodeReference

    @torch.inference_mode()
    def run(frames, *fps, rate=None):
        adapter = SimpleNamespace(module=SimpleNamespace(config=replace(config, reference_rate=rate)))
        return encode_reference.execute(vae, frames, frames[:1], adapter, *fps).args[0]["samples"]

    return run


def test_frames_are_taken_by_time(encode, caplog):
    frames = torch.rand(33, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    plain = encode(frames[:9])
    assert torch.equal(encode(frames[:9], 16.0), plain) and torch.equal(encode(frames[:9], 15.99), plain)
    assert torch.equal(encode(frames[:17], 32.0), encode(frames[:17:2], 16.0))  # no rate in the file: Wan's
    assert torch.equal(encode(frames, 32.0, rate=8.0), encode(frames[::4], 8.0, rate=8.0))
    caplog.clear()
    encode(frames[:9], 0.0, rate=8.0)
    assert "the adapter reads 8 per second" in caplog.text


def graph(**fps) -> dict:
    return {
        "model": node("SlotIDLoadToyWorld", weights="random"),
        "adapter": node("SlotIDLoadAdapter", adapter_name="toy_world_random"),
        "clip": node("EmptyImage", width=64, height=64, batch_size=17, color=0xC08060),
        "encode": node(
            "SlotIDEncodeReference", vae=["model", 2], face_clip=["clip", 0], portrait=["clip", 0],
            adapter=["adapter", 0], **fps,
        ),
        "save": node("SaveLatent", samples=["encode", 0], filename_prefix="latents/rate"),
    }  # fmt: skip


def warnings_on_nodes(socket, prompt_id: str) -> dict[str, list[str]]:
    """The warnings that each node hands to the page until the prompt has run."""
    warnings = {}
    while True:
        message = socket.recv()
        if isinstance(message, bytes):
            continue
        event = json.loads(message)
        if event["type"] == "executed" and "slotid_warnings" in (event["data"]["output"] or {}):
            warnings[event["data"]["node"]] = event["data"]["output"]["slotid_warnings"]
        if event["type"] in ("execution_success", "execution_error") and event["data"]["prompt_id"] == prompt_id:
            assert event["type"] == "execution_success", event
            return warnings


def test_a_warning_reaches_the_page_that_queued_it_and_the_log_and_goes_when_mended(server, client):
    pages = [
        websocket.create_connection(f"ws://{server.address}/ws?clientId={name}", timeout=300)
        for name in (client.client_id, "somebody-else")
    ]
    (text,) = warnings_on_nodes(pages[0], client.queue(graph()))["encode"]
    assert "frames per second are not known" in text and "Connect fps" in text
    assert "Slot-ID, Encode Reference: The face clip's frames per second are not known" in server.log.read_text()
    assert warnings_on_nodes(pages[0], client.queue(graph(fps=16.0)))["encode"] == []
    (text,) = warnings_on_nodes(pages[0], client.queue(graph(fps=8.0)))["encode"]
    assert "8 frames per second, fewer than the adapter's 16" in text
    pages[1].settimeout(1)
    heard = []
    with pytest.raises(websocket.WebSocketTimeoutException):
        while True:
            heard.append(pages[1].recv())
    assert not any("slotid_warnings" in str(message) for message in heard)
    for page in pages:
        page.close()
