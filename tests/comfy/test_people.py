"""Two people in one video through a real server: regions, and identities joined into one."""

import pytest
import torch
from graphs import applied, base_graph, node, person, with_person

from slotid_core.comfy_client import WorkflowError

ANN, BOB = 0xC08060, 0x3060C0


def region(where: str, x=0.0, y=0.0, width=1.0, height=1.0, **mask) -> dict:
    return node("SlotIDRegion", where=where, x=x, y=y, width=width, height=height, **mask)


def two_people(strength: float = 1.0) -> dict:
    graph = base_graph(model=("both", 0)) | person("ann", ANN) | person("bob", BOB)
    graph |= {"left": region("left half"), "right": region("right half")}
    graph["one"] = applied("ann", strength=strength, region=["left", 0])
    return graph | {"both": applied("bob", model=("one", 0), strength=strength, region=["right", 0])}


def test_two_people_each_on_a_side(latents):
    base, both = latents(base_graph()), latents(two_people())
    assert torch.equal(latents(two_people(strength=0.0)), base)
    swapped = two_people()
    swapped["left"], swapped["right"] = swapped["right"], swapped["left"]
    ann = latents(with_person(ANN))
    for other in (base, ann, latents(swapped)):
        assert (both - other).abs().max() > 1e-3
    shown = base_graph() | {"region": region("middle third"), "look": node("MaskToImage", mask=["region", 1])}
    shown["picture"] = node("PreviewImage", images=["look", 0])
    latents(shown)


def test_the_whole_frame_is_no_region(latents):
    graph = with_person(ANN) | {"everything": region("box")}
    graph["apply"]["inputs"]["region"] = ["everything", 0]
    assert torch.equal(latents(graph), latents(with_person(ANN)))


def test_a_mask_is_a_region_and_an_empty_one_is_said(client, latents):
    half, mask = two_people(), {"mask": node("SolidMask", value=1.0, width=32, height=64)}
    mask["canvas"] = node("SolidMask", value=0.0, width=64, height=64)
    mask["drawn"] = node("MaskComposite", destination=["canvas", 0], source=["mask", 0], x=0, y=0, operation="add")
    by_mask = half | mask | {"left": region("mask", mask=["drawn", 0])}
    assert torch.equal(latents(by_mask), latents(half))
    with pytest.raises(WorkflowError, match="mask is empty"):
        client.run(half | mask | {"left": region("mask", mask=["canvas", 0])})
    with pytest.raises(WorkflowError, match="no mask is connected"):
        client.run(half | {"left": region("mask")})


def test_identities_joined_into_one(latents):
    def with_identity(**joined) -> dict:
        graph = base_graph(model=("apply", 0)) | person("ann", ANN) | person("bob", BOB) | joined
        return graph | {"apply": applied("joined")}

    def mix(weight: float) -> dict:
        return with_identity(joined=node("SlotIDMixIdentities", first=["ann", 0], second=["bob", 0], weight=weight))

    ann, bob = latents(with_person(ANN)), latents(with_person(BOB))
    assert torch.equal(latents(mix(0.0)), ann) and torch.equal(latents(mix(1.0)), bob)
    merge = with_identity(joined=node("SlotIDMergeIdentities", first=["ann", 0], second=["bob", 0]))
    assert torch.allclose(latents(merge), latents(mix(0.5)), atol=1e-4)
