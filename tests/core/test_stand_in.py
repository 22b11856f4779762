"""Stand-In's published file: what is read of it, and what is said of files that are none."""

import json
import logging

import pytest
import stand_in_small as small
import torch
from conftest import tiny_wan
from safetensors.torch import save_file

from slotid_core.errors import SlotIDError
from slotid_core.systems.st_drc import LayoutConfig, Person, load_adapter, save_adapter
from slotid_core.systems.st_drc.config import STAND_IN
from slotid_core.wan import WanConfig, WanModel

WIDTH, DEPTH, RANK = 5120, 40, 128  # Wan 14B, and the published LoRA
PUBLISHED_BYTES = 314_599_728  # of Stand-In_wan2.1_T2V_14B_ver1.0_fp16.safetensors
KEY = "blocks.{}.self_attn.{}_loras.{}.weight"


def published_file(path, tensors=None, prefix=""):
    tensors = small.published_lora() if tensors is None else tensors
    save_file({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, path)
    return path


def write_full_size(path) -> None:
    """The published file's header over numbers that take no room on the disk; all are 0."""
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    place = 0
    names = [KEY.format(block, layer, part) for block in range(DEPTH) for layer in "qkv" for part in ("down", "up")]
    for name in sorted(names):
        shape = [RANK, WIDTH] if ".down." in name else [WIDTH, RANK]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + 2 * RANK * WIDTH]}
        place += 2 * RANK * WIDTH
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)


def test_a_file_of_the_published_size_has_every_layer_of_wan_14b(tmp_path, caplog):
    """Its size to the byte is the published one's, so that names, shapes and precision are too."""
    path = tmp_path / "stand_in.safetensors"
    write_full_size(path)
    assert path.stat().st_size == PUBLISHED_BYTES
    with caplog.at_level(logging.INFO):
        adapter = load_adapter(path)
    assert "120 of 120 layers (q, k, v of 40 blocks), rank 128, width 5120" in caplog.text
    adapter.check_model(WIDTH, DEPTH)
    with torch.device("meta"):
        model = WanModel(WanConfig(WIDTH, 13824, DEPTH, WIDTH // 128))
    for block, layers in adapter.token_lora.items():
        for name, change in layers.items():
            weight = model.blocks[block].get_submodule(name).get_parameter("weight")
            assert weight.shape == (change.up.shape[0], change.down.shape[1]) and change.scale == 1.0
    assert sum(map(len, adapter.token_lora.values())) == 3 * DEPTH and not adapter.merged_lora
    assert adapter.config.layout == STAND_IN


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_both_spellings_and_the_authors_own_checkpoint_are_one_adapter(prefix, tmp_path):
    tensors = small.published_lora()
    spelt = load_adapter(published_file(tmp_path / "a.safetensors", prefix=prefix))
    torch.save({"state_dict": tensors}, tmp_path / "b.ckpt")
    torch.save(tensors, tmp_path / "c.ckpt")
    own = [load_adapter(tmp_path / name) for name in ("b.ckpt", "c.ckpt")]
    assert spelt.fingerprint == own[0].fingerprint == own[1].fingerprint
    assert spelt.config == own[0].config and spelt.config.lora.tokens == "reference"
    change = spelt.token_lora[2]["self_attn.k"]
    assert torch.equal(change.down, tensors[KEY.format(2, "k", "down")])
    assert torch.equal(change.up, tensors[KEY.format(2, "k", "up")])


def test_saved_as_a_file_of_ours_it_is_the_same_adapter(tmp_path):
    adapter = load_adapter(published_file(tmp_path / "a.safetensors"))
    save_adapter(tmp_path / "ours.safetensors", adapter)
    again = load_adapter(tmp_path / "ours.safetensors")
    assert again.config == adapter.config and again.fingerprint == adapter.fingerprint


def spoilt(change: str) -> dict[str, torch.Tensor]:
    tensors = small.published_lora()
    key = KEY.format(1, "v", "up")
    if change == "a tensor left out":
        del tensors[key]
    elif change == "a block left out":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("blocks.2.")}
    elif change == "no values":
        tensors = {name: tensor for name, tensor in tensors.items() if "v_loras" not in name}
    elif change == "another shape":
        tensors[key] = tensors[key].T.contiguous()
    elif change == "one axis":
        tensors[KEY.format(0, "k", "down")] = torch.zeros(7)
    elif change == "NaN":
        tensors[key][3, 2] = float("nan")
    elif change == "whole numbers":
        tensors = {name: tensor.int() for name, tensor in tensors.items()}
    elif change == "something else beside":
        tensors["blocks.0.self_attn.o_loras.down.weight"] = torch.zeros(8, 256)
    elif change == "an ordinary LoRA":
        tensors = {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(8, 256)}
    elif change == "nothing":
        tensors = {}
    return tensors


SAID = {
    "a tensor left out": "Only 23 of the 24 tensors .* missing: 'blocks.1.self_attn.v_loras.up.weight'. The file is",
    "a block left out": "Only 18 of the 24 tensors .* missing: 'blocks.2.self_attn.q_loras.down.weight', .* and 3 more",
    "no values": "Only 16 of the 24 tensors .* missing: 'blocks.0.self_attn.v_loras.down.weight'",
    "another shape": r"1 of the 24 .* 'blocks.1.self_attn.v_loras.up.weight' has \(8, 256\) in place of \(256, 8\)",
    "one axis": r"'blocks.0.self_attn.k_loras.down.weight'.*\(7,\)",
    "NaN": "'blocks.1.self_attn.v_loras.up.weight' holds NaN",
    "whole numbers": "whole numbers",
    "something else beside": "Beside Stand-In's LoRA the file has 'blocks.0.self_attn.o_loras.down.weight'",
    "an ordinary LoRA": "neither an ST-DRC adapter .* nor Stand-In's LoRA.* first of its 1 tensors is 'diffusion_model",
    "nothing": "it is empty",
}


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
@pytest.mark.parametrize("change", SAID)
def test_what_is_no_such_file_is_said_in_a_sentence(change, ending, tmp_path):
    path, tensors = tmp_path / f"file.{ending}", spoilt(change)
    if ending == "ckpt":
        torch.save(tensors, path)
    else:
        published_file(path, tensors)
    with pytest.raises(SlotIDError, match=SAID[change]) as error:
        load_adapter(path)
    assert path.name in str(error.value) and len(str(error.value)) < 700


def test_a_pickle_with_more_than_tensors_is_not_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"state_dict": small.published_lora(), "hook": Runs()}, tmp_path / "file.ckpt")
    with pytest.raises(SlotIDError, match=r"file\.ckpt cannot be read"):
        load_adapter(tmp_path / "file.ckpt")
    assert not (tmp_path / "made").exists()


def test_a_model_of_another_width_or_depth_is_refused(tmp_path):
    adapter = load_adapter(published_file(tmp_path / "a.safetensors"))
    adapter.check_model(small.WIDTH, small.DEPTH)
    for width, depth in ((small.WIDTH, 5), (tiny_wan().config.dim, small.DEPTH)):
        with pytest.raises(SlotIDError, match="for a video model of width 256 with 4 blocks"):
            adapter.check_model(width, depth)


def test_the_layout_of_several_pictures_and_one_that_cannot_be():
    assert STAND_IN.time_of_first(frames=21, pictures=1) == -1
    assert STAND_IN.time_of_first(frames=21, pictures=3) == -3, "the last one is next to the video"
    with pytest.raises(SlotIDError, match="not both"):
        LayoutConfig(before_video=True, temporal_place=False)
    with pytest.raises(SlotIDError, match="picture_side"):
        LayoutConfig(picture_side=-1)


def test_a_person_saved_and_loaded_gives_the_same(tmp_path):
    from test_stand_in_parity import condition

    person = Person(small.picture(), {"name": "somebody"})
    person.save(tmp_path / "person.safetensors")
    assert torch.equal(Person.load(tmp_path / "person.safetensors").latents, condition().latents)
