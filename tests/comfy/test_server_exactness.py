"""Through a real server and core's KSampler: what must be bit-identical is, and what must differ does."""

import threading

import pytest
import torch
from graphs import applied, base_graph, node, person, with_person

from slotid_core.comfy_client import WorkflowError

ANN, BOB = 0xC08060, 0x3060C0
TINY = "tiny_t2v.safetensors"


def test_strength_zero_equals_the_graph_without_the_node(latents):
    base = latents(base_graph())
    assert torch.equal(latents(with_person(strength=0.0)), base)
    distance = [(latents(with_person(strength=s)) - base).abs().max() for s in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]


def test_two_people_differ_and_the_same_person_repeats(latents):
    ann = latents(with_person(ANN))
    assert not torch.equal(ann, latents(with_person(BOB)))
    again = with_person(ANN)
    again["save"]["inputs"]["filename_prefix"] = "latents/again"
    again["sample"]["inputs"]["steps"] = 4
    latents(again)  # other settings in between, so that the next run is sampled and not taken from the cache
    again["sample"]["inputs"]["steps"] = with_person()["sample"]["inputs"]["steps"]
    assert torch.equal(latents(again), ann)


def test_loader_without_adapter_equals_cores_loader(latents):
    ours, cores = base_graph(model=("unet", 0)), base_graph(model=("unet", 0))
    ours["unet"] = node("SlotIDLoadWanModel", model_name=TINY, weight_dtype="default")
    cores["unet"] = node("UNETLoader", unet_name=TINY, weight_dtype="default")
    assert torch.equal(latents(ours), latents(cores))
    with_lora = ours | {"adapter": node("SlotIDLoadAdapter", adapter_name="toy_world_random")}
    with_lora["unet"] = node(
        "SlotIDLoadWanModel", model_name=TINY, weight_dtype="default", adapter=["adapter", 0], lora_strength=1.0
    )
    assert not torch.equal(latents(with_lora), latents(cores))
    with_lora["unet"]["inputs"]["lora_strength"] = 0.0
    assert torch.equal(latents(with_lora), latents(cores))


@pytest.mark.parametrize("lora", ["before", "after"])
def test_a_lora_before_or_after_changes_none_of_that(latents, lora):
    adapter = {"adapter": node("SlotIDLoadAdapter", adapter_name="toy_world_random")}

    def stacked(strength: float) -> dict:
        graph = base_graph(model=("top", 0)) | person("ann", ANN)
        if lora == "before":
            graph["lora"] = node("SlotIDApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=1.0)
            graph["top"] = applied("ann", model=("lora", 0), strength=strength)
        else:
            graph["apply"] = applied("ann", strength=strength)
            graph["top"] = node("SlotIDApplyLoRA", model=["apply", 0], adapter=["adapter", 0], lora_strength=1.0)
        return graph

    without = base_graph(model=("top", 0)) | adapter
    without["top"] = node("SlotIDApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=1.0)
    base = latents(without)
    assert torch.equal(latents(stacked(0.0)), base)
    assert not torch.equal(latents(stacked(1.0)), base)
    assert torch.equal(latents(without), base)


def test_the_model_is_as_before_after_a_run_an_error_and_an_interrupt(client, latents):
    base = latents(base_graph())

    latents(with_person())
    fresh = base_graph()
    fresh["sample"]["inputs"]["seed"] = 8
    other_seed = latents(fresh)

    failing = with_person(blocks="99")
    with pytest.raises(WorkflowError, match="Blocks '99'"):
        client.run(failing)

    long = with_person()
    long["sample"]["inputs"].update(steps=2000, seed=11)
    started = threading.Event()

    def stop(node_class, step, steps):
        if node_class == "KSampler" and not started.is_set():
            started.set()
            client.interrupt()

    with pytest.raises(WorkflowError, match="interrupted"):
        client.run(long, progress=stop)

    fresh["save"]["inputs"]["filename_prefix"] = "latents/fresh"
    fresh["sample"]["inputs"]["steps"] = 4
    latents(fresh)
    fresh["sample"]["inputs"]["steps"] = base_graph()["sample"]["inputs"]["steps"]
    assert torch.equal(latents(fresh), other_seed)
    assert not torch.equal(other_seed, base)


@pytest.mark.parametrize("conditionings", ["positive", "positive and middle"])
def test_dual_cfg_takes_the_identity_where_it_is_meant(latents, conditionings):
    """With the middle conditioning's scale at zero weight, only the rows that carry the person can change it."""

    def dual(apply: bool) -> dict:
        graph = base_graph() | person("ann", ANN)
        graph["apply"] = applied("ann", conditionings=conditionings)
        graph["middle"] = node("CLIPTextEncode", clip=["model", 1], text="a man nods")
        graph["guider"] = node(
            "DualCFGGuider", model=["apply" if apply else "model", 0], cond1=["positive", 0], cond2=["middle", 0],
            negative=["negative", 0], cfg_conds=0.0, cfg_cond2_negative=3.0, style="regular",
        )  # fmt: skip
        graph["noise"] = node("RandomNoise", noise_seed=7)
        graph["solver"] = node("KSamplerSelect", sampler_name="euler")
        graph["sigmas"] = node("BasicScheduler", model=["model", 0], scheduler="simple", steps=3, denoise=1.0)
        graph["sample"] = node(
            "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["solver", 0],
            sigmas=["sigmas", 0], latent_image=["latent", 0],
        )  # fmt: skip
        return graph

    # cfg_conds = 0 leaves negative + 3 (middle - negative): the positive rows have no say.
    same = torch.allclose(latents(dual(True)), latents(dual(False)), atol=1e-4)
    assert same == (conditionings == "positive")
