"""LaVieID's temporal module through a real server: every node, what must be exact, and bad input."""

import json
from pathlib import Path

import av
import pytest
import torch
from graphs import base_graph, node, with_person

from slotid_core.comfy_client import WorkflowError

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "api" / "lavie_id_refine_video.json"
TEMPORAL = {"LaVieIDLoadTemporal", "LaVieIDRefineLatents", "LaVieIDRefinementPicture"}


def refined(graph: dict, strength: float = 1.0, **settings) -> dict:
    """A graph whose latents are refined behind its sampler."""
    graph = graph | {
        "module": node("LaVieIDLoadTemporal", module_name="toy_world_random"),
        "refine": node(
            "LaVieIDRefineLatents", samples=["sample", 0], temporal=["module", 0], strength=strength,
            **{"chunk_frames": 0} | settings,
        ),
    }  # fmt: skip
    graph["save"]["inputs"]["samples"] = ["refine", 0]
    return graph


def of_length(graph: dict, length: int, batch: int = 1) -> dict:
    graph["latent"]["inputs"] |= {"length": length, "batch_size": batch}
    return graph


def test_the_workflow_gives_the_video_before_and_after_and_a_picture(client, tmp_path):
    workflow = json.loads(WORKFLOW.read_text())
    for entry in workflow.values():
        for key, value in (("steps", 2), ("length", 17)):
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    assert {entry["class_type"] for entry in workflow.values()} >= TEMPORAL
    files = client.run(workflow).files()
    videos = [file for file in files if file["filename"].endswith(".mp4")]
    shown = {file["filename"].split("_0")[0]: frames_of(client.fetch(file, tmp_path)) for file in videos}
    assert set(shown) == {"as_sampled", "refined"} and all(len(frames) == 17 for frames in shown.values())
    assert (shown["as_sampled"][16] - shown["refined"][16]).abs().mean() > 1, "a random module spoils the video"
    assert sum(file["filename"].endswith(".png") for file in files) == 1


def frames_of(path: Path) -> torch.Tensor:
    with av.open(str(path)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return torch.stack(frames).float()


def test_strength_zero_is_the_graph_without_the_node(latents):
    base = latents(of_length(base_graph(), 9))
    assert torch.equal(latents(of_length(refined(base_graph(), 0.0), 9)), base)
    changed = latents(of_length(refined(base_graph()), 9))
    assert torch.equal(changed[:, :, 0], base[:, :, 0])
    assert (changed - base).abs().max() > 1e-3


def test_a_long_batch_behind_another_systems_person(latents):
    graph = of_length(with_person(), 33, batch=2)
    one, two = latents(graph), latents(of_length(refined(with_person(), chunk_frames=3), 33, batch=2))
    assert one.shape == two.shape == (2, 16, 9, 8, 8)
    assert all((one[row] - two[row]).abs().max() > 1e-3 for row in (0, 1))


def test_the_picture_is_an_image(client):
    graph = refined(base_graph()) | {
        "look": node("LaVieIDRefinementPicture", before=["sample", 0], after=["refine", 0]),
        "show": node("PreviewImage", images=["look", 0]),
    }
    assert any(file["filename"].endswith(".png") for file in client.run(graph).files())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latent": {"length": 1}}, "one frame"),
        ({"module": {"module_name": "none.safetensors"}}, "none.safetensors"),
        ({"latent": {"class_type": "EmptyLatentImage"}}, "16 channels and five axes"),
    ],
)
def test_bad_input_is_one_sentence_at_the_node(client, change, said):
    graph = refined(base_graph())
    for name, inputs in change.items():
        if "class_type" in inputs:
            graph["refine"]["inputs"]["samples"] = ["picture", 0]
            graph["picture"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
        else:
            graph[name]["inputs"] |= inputs
    with pytest.raises(WorkflowError, match=said):
        client.run(graph)


def test_every_node_is_used_above(client):
    assert set(client.object_info()) >= TEMPORAL


def test_masks_and_all_else_are_handed_on(pack_module):
    module = pack_module("nodes.lavie_id.temporal")
    loaded = module.LaVieIDLoadTemporal.execute("toy_world_random").result[0]
    latent = {"samples": torch.randn(1, 16, 5, 4, 4), "noise_mask": torch.ones(1, 1, 4, 4), "batch_index": [3]}
    given = latent["samples"].clone()
    (out,) = module.LaVieIDRefineLatents.execute(latent, loaded, 1.0, 0).result
    assert out["noise_mask"] is latent["noise_mask"] and out["batch_index"] == [3]
    assert torch.equal(latent["samples"], given) and not torch.equal(out["samples"], given)
    (same,) = module.LaVieIDRefineLatents.execute(latent, loaded, 0.0, 0).result
    assert same is latent


@pytest.mark.parametrize(
    ("samples", "said"), [(torch.full((1, 16, 5, 4, 4), float("nan")), "NaN"), ([1, 2], "several latents at once")]
)
def test_latents_that_no_graph_of_ours_makes(pack_module, samples, said):
    module = pack_module("nodes.lavie_id.temporal")
    errors = pack_module("slotid_core.errors")
    loaded = module.LaVieIDLoadTemporal.execute("toy_world_random").result[0]
    with pytest.raises(errors.SlotIDError, match=said):
        module.LaVieIDRefineLatents.execute({"samples": samples}, loaded, 1.0, 0)


def test_an_interrupt_stops_between_chunks_and_leaves_nothing(pack_module):
    import comfy.model_management

    module = pack_module("nodes.lavie_id.temporal")
    loaded = module.LaVieIDLoadTemporal.execute("toy_world_random").result[0]
    latent = {"samples": torch.randn(1, 16, 5, 4, 4)}
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        module.LaVieIDRefineLatents.execute(latent, loaded, 1.0, 0)
    (out,) = module.LaVieIDRefineLatents.execute(latent, loaded, 1.0, 0).result
    assert torch.isfinite(out["samples"]).all()
