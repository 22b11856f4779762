"""Every system beside what people run: the table of docs/compatibility.md, cell by cell, on ComfyUI's own classes.

Each cell samples a Wan model of real layout and few, narrow blocks. Without the person it must be exactly the
neighbour's own result, and with the person another. A cell that cannot work must say so.
"""

import contextlib
import importlib
import logging
from dataclasses import replace

import comfy.context_windows
import comfy.ldm.wan.model
import comfy.model_base
import comfy.ops
import comfy.sd
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from comfy_extras.nodes_easycache import EasyCacheNode
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from wan_models import LATENT, WIDTH, cfg_guider, image_conditionings, load_wan, run_guider

import nodes as core_nodes

DEPTH = 2


def text(seed, rows=10, length=48):
    """A short context: what a cell asks does not depend on how much padding there is."""
    context = torch.zeros(1, length, 4096)
    context[:, :rows] = torch.randn(1, rows, 4096, generator=torch.Generator().manual_seed(seed))
    return [[context, {}]]


PROMPT, NEGATIVE = text(1), text(2, rows=3)
MODULES = (
    "nodes.shared.models", "nodes.shared.patching", "nodes.slot_id.patching",
    "nodes.st_drc.patching", "nodes.lynx.patching",
    "nodes.lavie_id.patching", "slotid_core.systems.slot_id", "slotid_core.systems.lavie_id",
    "slotid_core.systems.lavie_id.random_checkpoints", "slotid_core.systems.st_drc",
    "slotid_core.systems.st_drc.random_checkpoints", "slotid_core.wan", "slotid_core.wan.hooks.attention",
)  # fmt: skip
POSITIVE = frozenset({"positive"})
SYSTEMS = ("slot_id", "lynx", "st_drc", "stand_in", "lavie_id")


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name.removeprefix("nodes.").removeprefix("slotid_core."): pack_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def load(pack):
    def load(**settings):
        return load_wan(pack["wan"], DEPTH, **settings)

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


@pytest.fixture(scope="module")
def put(pack):
    """(system, MODEL, strength) -> MODEL, by what the Apply nodes call."""

    def slot_id(model, strength):
        generator = torch.Generator().manual_seed(1)
        film = 0.3 * torch.randn(2, 1, 1, 2, WIDTH, generator=generator)
        identity = pack["systems.slot_id"].Identity(
            torch.randn(1, 2, WIDTH, generator=generator), torch.randn(1, 6, WIDTH, generator=generator), film[0],
            film[1], WIDTH, DEPTH, pack["systems.slot_id"].GateSchedule("linear"),
        )  # fmt: skip
        return pack["slot_id.patching"].apply_identity(model, identity, strength, 0.0, 1.0, range(DEPTH), POSITIVE)

    def lynx(model, strength):
        pack["shared.models"].wan_shape(model)
        generator = torch.Generator().manual_seed(1)
        branch = pack["wan.hooks.attention"].AttentionBranch
        face, reference = (
            {index: branch(*torch.randn(2, 2, 5, WIDTH, generator=generator), False) for index in range(DEPTH)}
            for _ in range(2)
        )
        held = pack["lynx.patching"].hold(model, face, reference)
        return pack["lynx.patching"].apply_lynx(model, held, strength, strength, 0.0, 1.0, range(DEPTH), POSITIVE)

    def st_drc(model, strength, **layout):
        settings = pack["systems.st_drc"].LayoutConfig(**layout)
        adapter = pack["systems.st_drc.random_checkpoints"].random_adapter(WIDTH, DEPTH, settings)
        person = pack["systems.st_drc"].Person(torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
        return pack["st_drc.patching"].apply_reference(model, adapter, person, strength, 0.0, 1.0, POSITIVE)

    def stand_in(model, strength):
        return st_drc(model, strength, reference_attends="itself", reads_text=False)

    def lavie_id(model, strength):
        random = pack["systems.lavie_id.random_checkpoints"]
        adapter = random.random_adapter(WIDTH, DEPTH, replace(random.ROUTER))
        tokens = torch.randn(1, 6, 4, 48, generator=torch.Generator().manual_seed(1))
        person = pack["systems.lavie_id"].Person(tokens, torch.ones(1, 6), adapter.fingerprint)
        return pack["lavie_id.patching"].apply_person(model, adapter, person, strength, 0.0, 1.0, POSITIVE)

    systems = {"slot_id": slot_id, "lynx": lynx, "st_drc": st_drc, "stand_in": stand_in, "lavie_id": lavie_id}
    return lambda system, model, strength=1.0: systems[system](model, strength)


def sample(model, positive=PROMPT, negative=NEGATIVE, latent=LATENT, sampler="euler", scheduler="simple", cfg=5.0):
    with torch.inference_mode():
        return core_nodes.common_ksampler(model, 3, 2, cfg, sampler, scheduler, positive, negative, latent)[0][
            "samples"
        ]


def check_cell(put, system, model, run=sample):
    """Strength 0 is the neighbour's own result to the bit; a person is finite and another."""
    base = run(model)
    assert torch.isfinite(base).all()
    assert torch.equal(run(put(system, model, 0.0)), base)
    with_person = run(put(system, model))
    assert torch.isfinite(with_person).all()
    assert (with_person - base).abs().max() > 1e-3 * base.abs().max()


# ---- neighbours, on text-to-video


def style_lora(model, seed=1):
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for block in range(DEPTH):
        for name, fan_in in (("cross_attn.q", WIDTH), ("ffn.2", 512)):
            key = f"diffusion_model.blocks.{block}.{name}"
            tensors[f"{key}.lora_A.weight"] = 0.1 * torch.randn(4, fan_in, generator=generator)
            tensors[f"{key}.lora_B.weight"] = 0.1 * torch.randn(WIDTH, 4, generator=generator)
    return comfy.sd.load_lora_for_models(model, None, tensors, 1.0, 0.0)[0]


def windowed(model, length=2):
    handler = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"), context_length=length,
        context_overlap=1, context_stride=1, closed_loop=False, dim=2,
    )  # fmt: skip
    changed = model.clone()
    changed.model_options["context_handler"] = handler
    return changed


def compiled(model):
    changed = model.clone()
    block = changed.model.diffusion_model.blocks[1]
    changed.add_object_patch("diffusion_model.blocks.1", torch.compile(block, backend="eager"))
    return changed


def without_second_block(model):
    """As skip-layer guidance's replacement leaves a block out."""
    changed = model.clone()
    changed.set_model_patch_replace(lambda args, extra: args, "dit", "double_block", 1)
    return changed


NEIGHBOURS = {
    "a stack of LoRAs": lambda model: style_lora(style_lora(model, 1), 2),
    "ModelSamplingSD3": lambda model: ModelSamplingSD3().patch(model, 3.0)[0],
    "EasyCache": lambda model: EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False).args[0],
    "context windows": windowed,
    "a compiled block": compiled,
    "a block left out": without_second_block,
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_neighbours(load, put, system, neighbour):
    """On a model of its own: a compiled block stays on a loaded one until core takes it off."""
    check_cell(put, system, NEIGHBOURS[neighbour](load()))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_person_is_in_every_frame_of_81_latents_by_context_windows(load, put, system):
    long = {"samples": torch.zeros(1, 16, 81, 4, 4)}
    model = windowed(load(), length=21)
    base, with_person = (sample(one, latent=long) for one in (put(system, model, 0.0), put(system, model)))
    assert torch.equal(base, sample(model, latent=long)) and torch.isfinite(with_person).all()
    changed = (with_person - base).square().mean(dim=(0, 1, 3, 4)).sqrt()  # (81,)
    assert changed.min() > 0.2 * changed.mean() > 0


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", ["fp8_e4m3fn", "fp8_scaled", "as GGUF"])
def test_quantised_weights(pack, load, put, system, kind):
    with torch.inference_mode():  # as a server loads; ComfyUI 0.33.0 moves its quantised weights in no other mode
        model = quantised(pack, load, kind)
    check_cell(put, system, model)


def quantised(pack, load, kind):
    if kind == "fp8_e4m3fn":
        return load(model_options={"dtype": torch.float8_e4m3fn})
    if kind == "fp8_scaled":
        torch.manual_seed(0)
        settings = dict(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2)
        tensors = pack["wan"].WanModel(pack["wan"].WanConfig(**settings)).state_dict()
        scaled = {"scaled_fp8": torch.tensor([], dtype=torch.float8_e4m3fn)}
        for name, tensor in tensors.items():
            if name.endswith("weight") and tensor.dim() == 2 and "blocks." in name:
                scale = tensor.abs().max() / 448
                scaled[name] = (tensor / scale).to(torch.float8_e4m3fn)
                scaled[name.replace(".weight", ".scale_weight")] = scale.float()
            else:
                scaled[name] = tensor
        return comfy.sd.load_diffusion_model_state_dict(scaled)
    return load(model_options={"custom_operations": Dequantizing})


class Dequantizing(comfy.ops.manual_cast):
    """Linear layers whose weights are numbers of 8 bits with a scale, as a GGUF loader's."""

    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            weight = state_dict[prefix + "weight"]
            scale = weight.abs().amax(1, keepdim=True).float() / 127
            self.packed = torch.nn.Parameter((weight / scale).round().to(torch.int8), requires_grad=False)
            self.scale = torch.nn.Parameter(scale, requires_grad=False)
            self.weight = None
            self.bias = None if self.bias is None else torch.nn.Parameter(state_dict[prefix + "bias"])

        def forward(self, x, *args, **kwargs):
            weight = (self.packed.float() * self.scale).to(x)
            return torch.nn.functional.linear(x, weight, None if self.bias is None else self.bias.to(x))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("sampler", "scheduler", "cfg"), [("uni_pc", "beta", 5.0), ("lcm", "sgm_uniform", 1.0)])
def test_samplers_schedulers_and_few_steps_without_guidance(model, put, system, sampler, scheduler, cfg):
    check_cell(put, system, model, lambda model: sample(model, sampler=sampler, scheduler=scheduler, cfg=cfg))


@pytest.mark.parametrize("system", SYSTEMS)
def test_dual_cfg_areas_ranges_and_batches(model, put, system):

    def dual(model):
        guider = Guider_DualCFG(model)
        guider.set_conds(PROMPT, text(4), NEGATIVE)
        guider.set_cfg(4.0, 3.0)
        return run_guider(guider)

    def ranged(model):
        early = [[PROMPT[0][0], {"start_percent": 0.0, "end_percent": 0.5}]]
        late = [[text(4)[0][0], {"start_percent": 0.5, "end_percent": 1.0}]]
        return run_guider(cfg_guider(model, early + late, NEGATIVE))

    def area(model):
        left = [[PROMPT[0][0], {"area": (3, 8, 4, 0, 0, 0), "strength": 1.0}]]
        return sample(model, positive=left + text(4))

    def batch(model):
        return sample(model, latent={"samples": torch.zeros(2, 16, 3, 8, 8)})

    for run in (dual, ranged, area, batch):
        check_cell(put, system, model, run)


# ---- families


def images(model_settings):
    def run(load):
        torch.manual_seed(0)
        positive, negative = image_conditionings(PROMPT, NEGATIVE)
        return load(**model_settings), lambda model: sample(model, positive, negative)

    return run


def of_class(name: str, **settings):
    """A MODEL of another class of core's, by a file of its own keys."""
    torch.manual_seed(0)
    transformer = getattr(comfy.ldm.wan.model, name)(
        dim=WIDTH, ffn_dim=512, num_heads=2, num_layers=DEPTH, operations=comfy.ops.disable_weight_init, **settings
    )
    for tensor in transformer.parameters():
        torch.nn.init.normal_(tensor, std=0.05)
    model = comfy.sd.load_diffusion_model_state_dict(transformer.state_dict())
    assert type(model.model.diffusion_model).__name__ == name
    return model


def first_and_last_frame(load):
    """CLIP's views of both frames, one behind the other, with positions of their own."""
    model = of_class("WanModel", model_type="i2v", in_dim=36, flf_pos_embed_token_number=514)
    torch.manual_seed(0)
    positive, negative = image_conditionings(PROMPT, NEGATIVE)

    class Both:
        penultimate_hidden_states = torch.randn(1, 514, 1280)

    for conditioning in (positive, negative):
        conditioning[0][1]["clip_vision_output"] = Both()
    return model, lambda model: sample(model, positive, negative)


def phantom(load):
    """References that core appends behind the video's frames."""
    pictures = torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    positive, negative = ([[text_and[0][0], {"time_dim_concat": pictures}]] for text_and in (PROMPT, NEGATIVE))
    return load(), lambda model: sample(model, positive, negative)


def bernini(load):
    """References whose tokens core appends behind the video's, in ComfyUI 0.33.0."""
    if not hasattr(comfy.model_base.WAN21, "resize_cond_for_context_window"):
        pytest.skip("this ComfyUI has no Bernini")
    pictures = [torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    positive = [[PROMPT[0][0], {"context_latents": pictures}]]
    model = load()
    assert not torch.equal(sample(model, positive), sample(model))
    return model, lambda model: sample(model, positive)


FAMILIES = {
    "Wan 2.1 T2V": lambda load: (load(), sample),
    "first and last frame": first_and_last_frame,
    "Phantom": phantom,
    "Bernini": bernini,
    "Wan 2.1 I2V": images(dict(in_dim=36, has_image_tokens=True)),
    "Wan 2.2 I2V A14B": images(dict(in_dim=36)),
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_families(load, put, system, family):
    model, run = FAMILIES[family](load)
    check_cell(put, system, model, run)


BESIDE_ROWS_AND_BRANCHES = {
    "VACE": lambda: of_class("VaceWanModel", vace_layers=1, vace_in_dim=96),
    "camera": lambda: of_class("CameraWanModel", model_type="camera", in_dim=32),
    "Fun with a reference": lambda: of_class("WanModel", model_type="i2v", in_dim=48, in_dim_ref_conv=16),
}


@pytest.mark.parametrize("system", ["slot_id", "lynx"])
@pytest.mark.parametrize("family", BESIDE_ROWS_AND_BRANCHES)
def test_vace_camera_and_fun(put, system, family):
    model = BESIDE_ROWS_AND_BRANCHES[family]()
    torch.manual_seed(0)
    positive, negative = image_conditionings(PROMPT, NEGATIVE)
    for conditioning in (positive, negative):
        if family.startswith("Fun"):
            conditioning[0][1]["reference_latents"] = [torch.randn(1, 16, 1, 8, 8)]
            conditioning[0][1]["concat_latent_image"] = torch.randn(1, 32, 3, 8, 8)  # a control video and a picture
    run = sample if family == "VACE" else (lambda model: sample(model, positive, negative))
    check_cell(put, system, model, run)


@pytest.mark.parametrize("system", ["st_drc", "stand_in", "lavie_id"])
@pytest.mark.parametrize("family", BESIDE_ROWS_AND_BRANCHES)
def test_vace_camera_and_fun_are_refused(put, system, family):
    with pytest.raises(Exception, match="lay their tokens out in another way"):
        put(system, BESIDE_ROWS_AND_BRANCHES[family]())


# Class of the transformer, and which systems run on it; the others refuse it in a sentence that names it.
LAID_OUT_OTHERWISE = {
    "VaceWanModel": ("slot_id", "lynx"), "CameraWanModel": ("slot_id", "lynx"), "HumoWanModel": ("slot_id", "lynx"),
    "WanModel_S2V": (),
    "SCAILWanModel": ("slot_id", "lynx"), "SCAIL2WanModel": ("slot_id", "lynx"),
    "AnimateWanModel": ("slot_id", "lynx"), "WanDancerModel": ("slot_id", "lynx"),
    "WanAnimate2Model": ("slot_id",), "CausalWanModel": (),
}  # fmt: skip
HOMES = ("model", "model_animate", "model_animate2", "model_wandancer", "ar_model")


def wan_class(name: str) -> type:
    for home in HOMES:
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(f"comfy.ldm.wan.{home}"), name)
    pytest.skip(f"this ComfyUI has no {name}")


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", LAID_OUT_OTHERWISE)
def test_who_takes_models_with_tokens_of_their_own(load, put, system, kind):
    """As `test_st_drc_on_model`: the class is what decides. What sampling gives on VACE and Fun is below."""
    model = load()
    model.model.diffusion_model.__class__ = wan_class(kind)
    if system in LAID_OUT_OTHERWISE[kind]:
        put(system, model)
        return
    with pytest.raises(Exception, match="text-to-video") as refused:
        put(system, model)
    logging.info("%s on %s: %s", system, kind, refused.value)


def test_wan_22_5b_takes_rows_and_branches_and_no_references(load, put):
    model = load(in_dim=48, out_dim=48)
    latent = {"samples": torch.zeros(1, 48, 3, 8, 8)}
    for system in ("slot_id", "lynx", "lavie_id"):
        check_cell(put, system, model, lambda model: sample(model, latent=latent))
    for system in ("st_drc", "stand_in"):
        with pytest.raises(Exception, match="takes 48 channels"):
            put(system, model)
