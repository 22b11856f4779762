"""The reference nodes in a real ComfyUI: from an uploaded clip to latents, and every kind of bad input."""

import json
import logging
import os
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from graphs import node

from slotid_core.comfy_client import WorkflowError
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import render_reference


@pytest.fixture(scope="module")
def reference(pack_module):
    """The reference nodes by name."""
    found = [*pack_module("nodes.reference").NODES, *pack_module("nodes.slot_id.encode").NODES]
    return SimpleNamespace(**{node.__name__: node for node in found})


@pytest.fixture
def input_folder(tmp_path, monkeypatch):
    import folder_paths

    folder = tmp_path / "input"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(folder))
    return folder


def write_clip(path, frames=9, size=(96, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            image = np.full((size[1], size[0], 3), 20 * index % 256, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def load(reference, file, **settings):
    values = dict(num_frames=65, start_seconds=0.0, sample_rate=0.0, short_side=480, decoder="auto") | settings
    return reference.SlotIDLoadReferenceVideo.execute(file, **values).args


def track(reference, frames, **settings):
    values = dict(size=64, margin=0.5, smoothing=8, subject=0, on_missing="skip", detector="auto") | settings
    return reference.SlotIDFaceTrack.execute(frames, **values).args


def portrait(reference, frames, **settings):
    values = dict(candidates=3, rank=0, background="white", detector="auto", mask=None) | settings
    return reference.SlotIDSelectPortrait.execute(frames, **values).args


def test_a_clip_in_a_subfolder_becomes_a_face_clip_and_a_portrait(reference, input_folder):
    write_clip(input_folder / "people" / "ann.mp4")
    assert "people/ann.mp4" in reference.SlotIDLoadReferenceVideo.define_schema().inputs[0].options
    frames, rate, audio, notes, timeline, window = load(reference, "people/ann.mp4")
    assert frames.shape == (9, 64, 96, 3) and rate == 25 and audio is None and "9" in notes
    assert timeline.shape[0] == 1 and json.loads(window)["frames"] == 9
    clip, boxes, overlay, report, _ = track(reference, frames)
    assert clip.shape == (9, 64, 64, 3) and len(overlay) == 9
    assert boxes == [[]] * 9 and "No face" in json.loads(report)["notes"][0]
    image, mask, candidates, report = portrait(reference, clip)
    assert image.shape == (1, 64, 64, 3) and mask.shape == (1, 64, 64) and len(candidates) == 3
    assert json.loads(report)["candidates"][0]["frame"] == json.loads(report)["frame"]


def test_a_face_that_was_tracked_goes_back_to_where_it_was(reference, pack_module):
    frames = render_reference(sample_person(1_000_015), 22, num_frames=9, size=128)
    clip, _, _, _, crop = track(reference, frames, detector="drawn", size=256)
    paste = pack_module("nodes.reference.second_pass").SlotIDPasteFace
    (same,) = paste.execute(frames, clip, crop, 0.2).args
    assert (same - frames).abs().mean() < 0.01
    (marked,) = paste.execute(frames, torch.zeros_like(clip), crop, 0.2).args
    left, top, side = crop[4]
    middle = marked[4, int(top + 0.4 * side) : int(top + 0.6 * side), int(left + 0.4 * side) : int(left + 0.6 * side)]
    assert middle.abs().max() == 0


def test_the_best_window_is_searched_and_shown(reference, input_folder):
    """Nine frames of one colour, then a cut, then forty that move: the window of 33 lies behind the cut."""
    rng = np.random.default_rng(0)
    moving = np.kron(rng.integers(0, 200, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(input_folder / "two.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        for index in range(49):
            image = np.roll(moving, index, axis=1) if index >= 9 else np.full((64, 96, 3), 240, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    frames, _, _, _, timeline, report = load(reference, "two.mkv", num_frames=33, window="best")
    facts = json.loads(report)
    assert len(frames) == 33 and facts["start_seconds"] >= 9 / 25 and facts["cuts_seconds"] == [9 / 25]
    assert facts["windows_compared"] > 1 and timeline.shape == (1, 300, 960, 3)
    cut, *_ = load(reference, "two.mkv", num_frames=49)
    assert len(cut) == 37  # the longest scene of the window, 40 frames, as 4n+1


def test_a_video_object_is_read_instead_of_the_file(reference, input_folder):
    from comfy_api.latest import InputImpl, Types

    path = write_clip(input_folder / "ann.mp4", frames=13)
    from_file = load(reference, "gone.mp4", video=InputImpl.VideoFromFile(str(path)))[0]
    assert torch.equal(from_file, load(reference, "ann.mp4")[0])
    frames = torch.rand(9, 64, 96, 3)
    sound = {"waveform": torch.arange(400.0)[None, None], "sample_rate": 1000}
    components = Types.VideoComponents(images=frames, audio=sound, frame_rate=Fraction(25))
    given, rate, audio, *_ = load(
        reference, "gone.mp4", video=InputImpl.VideoFromComponents(components), start_seconds=0.04, num_frames=5
    )
    assert rate == 25 and (given - frames[1:6]).abs().max() < 0.51 / 255
    assert torch.equal(audio["waveform"][0, 0], torch.arange(40.0, 240.0))
    mine = load(reference, "ann.mp4", audio=sound)[2]
    assert torch.equal(mine["waveform"], sound["waveform"])


def test_a_folder_of_pictures_is_offered_and_read(reference, input_folder):
    from PIL import Image

    (input_folder / "shots").mkdir()
    for index in range(6):
        Image.fromarray(np.full((64, 96, 3), 30 * index, np.uint8)).save(input_folder / "shots" / f"{index}.png")
    assert "shots/" in reference.SlotIDLoadReferenceVideo.define_schema().inputs[0].options
    assert reference.SlotIDLoadReferenceVideo.validate_inputs("shots/") is True
    assert load(reference, "shots/")[0][:, 0, 0, 0].tolist() == pytest.approx([30 * i / 255 for i in range(5)])
    before = reference.SlotIDLoadReferenceVideo.fingerprint_inputs("shots/")
    (input_folder / "shots" / "2.png").write_bytes((input_folder / "shots" / "3.png").read_bytes())
    assert before != reference.SlotIDLoadReferenceVideo.fingerprint_inputs("shots/")


def test_the_report_joins_what_the_other_nodes_reported(reference, input_folder):
    write_clip(input_folder / "ann.mp4", frames=13)
    frames, *_, window = load(reference, "ann.mp4")
    clip, _, _, tracking, _ = track(reference, frames)
    card, report = reference.SlotIDReferenceReport.execute(clip, "auto", tracking, window, None).args
    facts = json.loads(report)
    assert card.shape[0] == 1 and card.shape[2:] == (960, 3) and card.std() > 0.05
    assert facts["frames"] == 13 and facts["people"] == 0 and facts["window"]["start_seconds"] == 0
    assert facts["verdict"] == "poor" and len(facts["missing"]) == len(facts["film_instead"]) > 0
    for wrong in ("no json", "[1, 2]"):
        with pytest.raises(ValueError, match="track_report"):
            reference.SlotIDReferenceReport.execute(clip, "auto", wrong)


def test_d8_a_clip_of_too_few_frames_is_told_on_the_node(reference, input_folder, caplog):
    write_clip(input_folder / "short.mp4", frames=9)
    with caplog.at_level(logging.WARNING):
        load(reference, "short.mp4", num_frames=9)
        assert not caplog.records
        load(reference, "short.mp4", num_frames=17)
    assert "Slot-ID, Load Reference Video: The clip gives only 9 of 17 frames" in caplog.text


def test_d8_a_face_that_is_rarely_found_is_told_on_the_node(reference, caplog):
    """Each third frame is examined, and the last."""
    frames = render_reference(sample_person(1_000_015), 22, num_frames=16, size=128)
    with caplog.at_level(logging.WARNING):
        track(reference, frames, detector="drawn")
        assert not caplog.records
        frames[9:] = 0.5
        track(reference, frames, detector="drawn")
    assert "Slot-ID, Track Face: The face was found on only 3 of 6 examined frames" in caplog.text


def test_the_report_judges_the_portrait_and_warns_of_what_makes_it_poor(reference, input_folder, caplog):
    write_clip(input_folder / "ann.mp4", frames=13)
    clip, _, _, tracking, _ = track(reference, load(reference, "ann.mp4")[0])
    mask = torch.zeros(1, *clip.shape[1:3])
    portrait, report = clip[4:5], json.dumps({"frame": 4, "background": "mask input"})
    with caplog.at_level(logging.WARNING):
        card, text = reference.SlotIDReferenceReport.execute(
            clip, "auto", tracking, None, report, portrait=portrait, portrait_mask=mask
        ).args
    judged = json.loads(text)["portrait"]
    assert judged["frame"] == 4 and judged["verdict"] in ("usable", "poor") and "sharpness" in judged
    assert card.shape[0] == 1
    assert any("Reference Report" in record.message for record in caplog.records)
    optional = reference.SlotIDReferenceReport.INPUT_TYPES()["optional"]
    assert list(optional)[-2:] == ["portrait", "portrait_mask"]  # saved workflows count inputs in order


@pytest.mark.parametrize(
    "name", ["../secret.mp4", "link.mp4", "folder/secret.mp4", "ABSOLUTE", "people/../../secret.mp4"]
)
def test_nothing_outside_the_input_folder_is_read(reference, input_folder, name):
    secret = write_clip(input_folder.parent / "secret.mp4")
    (input_folder / "link.mp4").symlink_to(secret)
    (input_folder / "folder").symlink_to(secret.parent, target_is_directory=True)
    name = str(secret) if name == "ABSOLUTE" else name
    refusal = reference.SlotIDLoadReferenceVideo.validate_inputs(name)
    assert refusal is not True and "outside" in refusal
    with pytest.raises(ValueError, match="outside"):
        load(reference, name)


@pytest.mark.parametrize(("name", "reason"), [("", "No video"), ("gone.mp4", "no video"), (".", "no video")])
def test_a_name_that_is_no_file_is_refused_before_the_queue_runs(reference, input_folder, name, reason):
    assert reason in reference.SlotIDLoadReferenceVideo.validate_inputs(name)


def test_a_new_upload_under_the_same_name_is_read_again(reference, input_folder):
    clip = write_clip(input_folder / "ann.mp4")
    before = reference.SlotIDLoadReferenceVideo.fingerprint_inputs("ann.mp4", num_frames=65)
    assert before == reference.SlotIDLoadReferenceVideo.fingerprint_inputs("ann.mp4", num_frames=65)
    os.utime(clip, (1, 1))
    assert before != reference.SlotIDLoadReferenceVideo.fingerprint_inputs("ann.mp4", num_frames=65)


def test_no_face_is_an_error_when_asked_for(reference):
    with pytest.raises(ValueError, match="on_missing"):
        track(reference, torch.full((5, 64, 64, 3), 0.5), on_missing="error")


def test_a_mask_decides_what_is_kept(reference):
    frames = torch.rand(5, 64, 64, 3)
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    image, kept, candidates, _ = portrait(reference, frames, mask=mask, background="grey")
    assert torch.equal(kept, mask)
    assert torch.equal(image[0, 16:48, 16:48], candidates[0, 16:48, 16:48])
    assert (image[0, :16] == 0.5).all()


@pytest.fixture(scope="module")
def wan_vae(pack_module, tmp_path_factory):
    import comfy.sd
    import comfy.utils

    files = pack_module("slotid_core.toy_world.random_checkpoints").random_checkpoints(tmp_path_factory.mktemp("vae"))
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(files.vae)))


def encode(reference, vae, clip, picture):
    return reference.SlotIDEncodeReference.execute(vae, clip, picture).args


@torch.inference_mode()
def test_encoding_is_the_vaes_own_and_drops_the_remainder(reference, wan_vae):
    clip, picture = torch.rand(7, 64, 64, 3), torch.rand(2, 64, 64, 3)
    clip_latent, portrait_latent = encode(reference, wan_vae, clip, picture)
    assert clip_latent["samples"].shape == (1, 16, 2, 8, 8)
    assert portrait_latent["samples"].shape == (1, 16, 1, 8, 8)
    assert torch.equal(clip_latent["samples"], wan_vae.encode(clip[:5]))
    assert torch.equal(portrait_latent["samples"], wan_vae.encode(picture[:1]))


@torch.inference_mode()
def test_an_adapter_says_at_which_size_it_reads(reference, pack_module, wan_vae):
    config = pack_module("slotid_core.systems.slot_id").AdapterConfig.for_model(64, 2)
    config = replace(config, reference_size=32, portrait_size=48)
    adapter = SimpleNamespace(module=SimpleNamespace(config=config))
    clip, picture = torch.full((5, 64, 64, 3), 0.25), torch.rand(1, 48, 48, 3)
    clip_latent, portrait_latent = reference.SlotIDEncodeReference.execute(wan_vae, clip, picture, adapter).args
    torch.testing.assert_close(clip_latent["samples"], wan_vae.encode(clip[:, :32, :32]))
    assert torch.equal(portrait_latent["samples"], wan_vae.encode(picture))
    with pytest.raises(ValueError, match="face_clip is 32x64; an adapter reads squares"):
        reference.SlotIDEncodeReference.execute(wan_vae, clip[:, :, :32], picture, adapter)


@torch.inference_mode()
def test_wrong_sizes_values_and_vaes_are_named(reference, wan_vae):
    import comfy.sd
    from comfy.ldm.models.autoencoder import AutoencoderKL

    good = torch.rand(5, 64, 64, 3)
    with pytest.raises(ValueError, match="multiples of 16"):
        encode(reference, wan_vae, torch.rand(5, 72, 64, 3), good)
    with pytest.raises(ValueError, match="NaN"):
        encode(reference, wan_vae, good * float("nan"), good)

    image_vae = object.__new__(comfy.sd.VAE)  # the real class, without the hundreds of megabytes of real weights
    image_vae.latent_channels = 4
    with pytest.raises(ValueError, match="4 channels"):
        encode(reference, image_vae, good, good)
    image_vae.latent_channels = 16  # as Flux's
    image_vae.first_stage_model = object.__new__(AutoencoderKL)
    with pytest.raises(ValueError, match="AutoencoderKL"):
        encode(reference, image_vae, good, good)


def test_a_wan_vae_with_broken_weights_gives_an_error_not_a_latent(reference, pack_module, tmp_path):
    import comfy.sd
    import comfy.utils

    files = pack_module("slotid_core.toy_world.random_checkpoints").random_checkpoints(tmp_path)
    weights = comfy.utils.load_torch_file(str(files.vae))
    weights["encoder.conv1.weight"].fill_(float("nan"))
    with torch.inference_mode(), pytest.raises(ValueError, match="NaN"):
        encode(reference, comfy.sd.VAE(sd=weights), torch.rand(5, 64, 64, 3), torch.rand(1, 64, 64, 3))


def test_interrupting_stops_a_long_read(reference, input_folder):
    import comfy.model_management as management

    write_clip(input_folder / "long.mp4", frames=60)
    management.interrupt_current_processing(True)
    try:
        with pytest.raises(management.InterruptProcessingException):
            load(reference, "long.mp4")
    finally:
        management.interrupt_current_processing(False)


def test_through_the_server(server, client, tmp_path):
    """An API client uploads a clip and queues the four nodes; then a missing file, and the queue goes on."""
    clip = write_clip(tmp_path / "person.mp4", frames=9, size=(128, 96))
    name = client.upload(clip)
    graph = {
        "model": node("SlotIDLoadToyWorld", weights="random"),
        "load": node(
            "SlotIDLoadReferenceVideo", file=name, num_frames=65, start_seconds=0.0, sample_rate=0.0, short_side=480,
            decoder="auto",
        ),
        "track": node(
            "SlotIDFaceTrack", frames=["load", 0], size=64, margin=0.5, smoothing=8, subject=0, on_missing="skip",
            detector="auto",
        ),
        "portrait": node(
            "SlotIDSelectPortrait", face_clip=["track", 0], candidates=3, rank=0, background="white", detector="auto"
        ),
        "encode": node("SlotIDEncodeReference", vae=["model", 2], face_clip=["track", 0], portrait=["portrait", 0]),
        "save": node("SaveLatent", samples=["encode", 0], filename_prefix="latents/reference"),
    }  # fmt: skip
    assert client.run(graph).files()

    missing = graph | {"load": {**graph["load"], "inputs": {**graph["load"]["inputs"], "file": "gone.mp4"}}}
    with pytest.raises(WorkflowError, match="gone.mp4"):
        client.run(missing)
    faceless = graph | {"track": {**graph["track"], "inputs": {**graph["track"]["inputs"], "on_missing": "error"}}}
    with pytest.raises(WorkflowError, match="No face"):
        client.run(faceless)
    assert client.run(
        graph | {"save": {**graph["save"], "inputs": {**graph["save"]["inputs"], "filename_prefix": "b"}}}
    )
