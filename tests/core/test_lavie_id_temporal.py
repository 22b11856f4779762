"""LaVieID's temporal module: equation 4 against a plain rendering, time's order, chunks, files and bad input."""

import math

import numpy as np
import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id.temporal import TemporalConfig, TemporalModule, load_temporal, save_temporal
from slotid_core.systems.lavie_id.temporal.chunks import chunk_length, starts, to_latents, to_tokens
from slotid_core.systems.lavie_id.temporal.file import random_temporal, random_temporal_file
from slotid_core.systems.lavie_id.temporal.picture import bias_picture
from slotid_core.systems.lavie_id.temporal.sampled import held_bytes, refine_sampled
from slotid_core.wan.vae import denormalize_latents, normalize_latents
from slotid_core.weights import save_weights

SMALL = TemporalConfig(width=32, heads=2, layers=2)
GRID = TemporalConfig(width=32, heads=2, layers=2, rotary="grid")


def video(frames=9, height=4, width=6, batch=1, seed=0):
    return torch.randn(batch, 16, frames, height, width, generator=torch.Generator().manual_seed(seed))


class Plain:
    """Equation 4 token by token in NumPy, from the module's weights and nothing else of it."""

    def __init__(self, module):
        self.config = module.config
        self.weights = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}

    def linear(self, name, x):
        out = x @ self.weights[f"{name}.weight"].T
        return out + self.weights.get(f"{name}.bias", 0.0)

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
        return normal * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def turned(self, vector, place):
        """One head's vector with each pair of channels turned by its place, (time, y, x)."""
        size = len(vector)
        third = 2 * (size // 6)
        parts = [size, 0, 0] if self.config.rotary == "frame" else [size - 2 * third, third, third]
        angles = [
            position / 10000 ** (2 * pair / channels)
            for position, channels in zip(place, parts, strict=True)
            for pair in range(channels // 2)
        ]
        out = np.empty_like(vector)
        for pair, angle in enumerate(angles):
            one, other = vector[2 * pair], vector[2 * pair + 1]
            out[2 * pair] = one * math.cos(angle) - other * math.sin(angle)
            out[2 * pair + 1] = one * math.sin(angle) + other * math.cos(angle)
        return out

    def attention(self, queries, keys, values, query_places, key_places, is_causal, has_places):
        size = self.config.width // self.config.heads
        out = np.zeros_like(queries)
        for head in range(self.config.heads):
            own = slice(head * size, (head + 1) * size)
            for i, place in enumerate(query_places):
                seen = [j for j, other in enumerate(key_places) if not is_causal or other[0] <= place[0]]
                q = self.turned(queries[i, own], place) if has_places else queries[i, own]
                logits = np.array(
                    [q @ (self.turned(keys[j, own], key_places[j]) if has_places else keys[j, own]) for j in seen]
                ) / math.sqrt(size)
                shares = np.exp(logits - logits.max())
                out[i, own] = (shares / shares.sum()) @ values[seen][:, own]
        return out

    def psi(self, tokens, places):
        x = self.linear("project_in", tokens)
        for number in range(self.config.layers):
            name = f"layers.{number}"
            q, k, v = np.split(self.linear(f"{name}.to_qkv", self.norm(f"{name}.norm1", x)), 3, axis=1)
            x = x + self.linear(f"{name}.to_out", self.attention(q, k, v, places, places, True, True))
            hidden = self.linear(f"{name}.feed_forward.0", self.norm(f"{name}.norm2", x))
            gelu = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
            x = x + self.linear(f"{name}.feed_forward.2", gelu)
        return x

    def phi(self, before, tokens, before_places, places):
        k, v = np.split(self.linear("read.to_kv", self.norm("read.norm1", before)), 2, axis=1)
        q = self.linear("read.to_q", self.norm("read.norm2", self.linear("project_in", tokens)))
        read = self.attention(q, k, v, places, before_places, False, self.config.rotary == "grid")
        return self.linear("project_out", self.linear("read.to_out", read))

    def refine(self, latents, beta, length):
        """(16, T, h, w) of even sides -> the same shape."""
        _, frames, height, width = latents.shape
        spots = [(y, x) for y in range(height // 2) for x in range(width // 2)]

        def token(frame, y, x):
            return latents[:, frame, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(64)

        rows = [np.stack([token(frame, *spot) for spot in spots]) for frame in range(frames)]
        result, before, before_frames, start = [rows[0]], [rows[0]], [0], 1
        while start < frames:
            own = list(range(start, min(start + length, frames)))
            chunk, chunk_frames = [before[-1], *(rows[frame] for frame in own)], [start - 1, *own]
            places = [[(frame, *spot) for frame in many for spot in spots] for many in (before_frames, chunk_frames)]
            state = self.psi(np.concatenate(before), places[0])
            bias = self.phi(state, np.concatenate(chunk), *places).reshape(len(chunk), len(spots), 64)
            before = [part + beta * change for part, change in zip(chunk, bias, strict=True)]
            result += before[1:]
            before_frames, start = chunk_frames, start + length
        out = np.empty_like(latents)
        for frame, tokens in enumerate(result):
            for (y, x), values in zip(spots, tokens, strict=True):
                out[:, frame, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = values.reshape(16, 2, 2)
        return out


@pytest.mark.parametrize("config", [SMALL, GRID], ids=lambda config: config.rotary)
@pytest.mark.parametrize(("frames", "length"), [(5, 0), (9, 0), (7, 0), (8, 3), (2, 0)])
def test_equation_4_against_a_plain_rendering(config, frames, length):
    module, latents = random_temporal(config).double(), video(frames).double()
    plain = Plain(module).refine(latents[0].numpy(), config.beta, length or chunk_length(frames, config.chunks))
    refined = module.refine(latents, length=length)[0].numpy()
    assert np.abs(refined - plain).max() < 1e-8
    assert np.abs(refined - latents[0].numpy()).max() > 1e-2


@pytest.mark.parametrize("config", [SMALL, GRID], ids=lambda config: config.rotary)
@pytest.mark.parametrize("changed", [0, 1, 4, 7, 12])
def test_a_later_frame_changes_nothing_before_it(config, changed):
    """Three frames a chunk: frames 1 and 4 are the first of a chunk, and 12 the last of all."""
    module, latents = random_temporal(config), video(13)
    other = latents.clone()
    other[:, :, changed] += 1.0
    one, two = (module.refine(values) - values for values in (latents, other))
    assert torch.equal(one[:, :, :changed], two[:, :, :changed])
    assert changed == 0 or not torch.equal(one[:, :, changed], two[:, :, changed])
    for later in range(changed + 3, 13):
        assert (one[:, :, later] - two[:, :, later]).abs().max() > 1e-6, "what comes later reads it"


def test_strength_zero_and_a_new_module_change_nothing_to_the_bit():
    latents = video()
    assert torch.equal(random_temporal(SMALL).refine(latents, strength=0.0), latents)
    assert torch.equal(random_temporal(SMALL)(latents, 0.0, 2), latents)
    assert torch.equal(TemporalModule(SMALL).refine(latents), latents)
    assert torch.equal(random_temporal(SMALL).refine(latents)[:, :, 0], latents[:, :, 0]), "frame 0 seeds"


@pytest.mark.parametrize(
    ("frames", "chunks", "sizes"),
    [(5, 4, [1] * 4), (17, 4, [4] * 4), (21, 4, [5] * 4), (81, 4, [20] * 4), (3, 4, [1, 1]), (2, 4, [1]),
     (7, 4, [2, 2, 2]), (8, 4, [2, 2, 2, 1]), (20, 4, [5, 5, 5, 4]), (21, 1, [20])],
)  # fmt: skip
def test_a_remainder_makes_the_last_chunk_shorter(frames, chunks, sizes):
    length = chunk_length(frames, chunks)
    first = starts(frames, length)
    assert [min(start + length, frames) - start for start in first] == sizes
    assert 1 + sum(sizes) == frames


def test_the_length_asked_for_makes_as_many_chunks_as_it_takes():
    module, latents, seen = random_temporal(SMALL), video(22), []
    refined = module.refine(latents, length=5, progress=lambda *done: seen.append(done))
    assert seen == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    beginning = module.refine(latents[:, :, :11], length=5)
    assert torch.allclose(refined[:, :, :11], beginning, atol=1e-6), "more frames behind it change no chunk"
    assert not torch.allclose(refined, module.refine(latents, length=4), atol=1e-4)
    assert torch.equal(module.refine(latents, length=500), module.refine(latents, length=21))


def test_rows_of_a_batch_are_as_if_alone():
    module, both = random_temporal(SMALL), video(batch=2)
    refined = module.refine(both)
    assert torch.allclose(refined[1:], module.refine(both[1:]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(5, 6), (4, 7), (3, 3), (1, 1)])
def test_an_odd_side_is_made_even_by_its_last_row_or_column(height, width):
    latents = video(5, height, width)
    tokens = to_tokens(latents)
    assert tokens.shape == (1, 5, -(-height // 2) * -(-width // 2), 64)
    assert torch.equal(to_latents(tokens, height, width), latents)
    refined = random_temporal(SMALL).refine(latents)
    assert refined.shape == latents.shape and (refined - latents).abs().max() > 1e-3
    even = torch.nn.functional.pad(latents.flatten(1, 2), (0, width % 2, 0, height % 2), mode="replicate")
    whole = random_temporal(SMALL).refine(even.unflatten(1, (16, 5)))
    assert torch.allclose(refined, whole[..., :height, :width], atol=1e-6)


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (torch.zeros(1, 48, 5, 4, 4), "16 channels"),
        (torch.zeros(1, 16, 4, 4), "five axes"),
        (torch.zeros(0, 16, 5, 4, 4), "none of them empty"),
        (video(1), "one frame"),
        (video() * float("nan"), "latents hold NaN or infinity"),
    ],
)
def test_latents_that_cannot_be_refined_are_one_sentence(latents, said):
    with pytest.raises(SlotIDError, match=said):
        random_temporal(SMALL).refine(latents)


def test_a_result_that_is_no_number_is_refused():
    module = random_temporal(SMALL)
    module.project_out.bias.data.fill_(1e38)
    with pytest.raises(SlotIDError, match="module gave NaN"):
        module.refine(video(), strength=100.0)


def test_a_file_gives_what_was_saved(tmp_path):
    module = random_temporal(GRID)
    save_temporal(tmp_path / "module.safetensors", module.config, module.state_dict())
    read = load_temporal(tmp_path / "module.safetensors")
    assert read.config == GRID and torch.equal(read.refine(video()), module.refine(video()))
    half = {name: tensor.half() for name, tensor in module.state_dict().items()}
    save_temporal(tmp_path / "half.safetensors", module.config, half)
    assert torch.allclose(
        load_temporal(tmp_path / "half.safetensors").refine(video()), module.refine(video()), atol=1e-2
    )
    first = random_temporal_file(tmp_path)
    assert random_temporal_file(tmp_path) == first and load_temporal(first).config.width == 32


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"kind": "st_drc_adapter"}, "lavie_id_temporal"),
        ({"config": {"width": 64, "heads": 2, "layers": 2}}, "sizes"),
        ({"config": {"width": 32, "heads": 3, "layers": 2}}, "heads"),
        ({"config": {"width": 32, "depth": 2}}, "depth"),
        ({"version": 2}, "Update the pack"),
        ({"config": {"width": 10**7}}, "width must lie"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(header, said, tmp_path):
    module = random_temporal(SMALL)
    config = {"width": 32, "heads": 2, "layers": 2}
    whole = {"kind": "lavie_id_temporal", "version": 1, "config": config} | header
    save_weights(tmp_path / "bad.safetensors", module.state_dict(), whole)
    with pytest.raises(SlotIDError, match=said) as caught:
        load_temporal(tmp_path / "bad.safetensors")
    assert "bad.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"heads": 3}, "even number"), ({"heads": 512}, "even number"), ({"beta": -1.0}, "beta"),
     ({"width": 64, "heads": 16, "rotary": "grid"}, "at least 6"), ({"chunks": 0}, "chunks")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SlotIDError, match=said):
        TemporalConfig(**({"width": 64} | settings))


def test_sampled_latents_are_refined_in_the_vaes_numbers_and_keep_what_is_not_changed():
    module, latents = random_temporal(SMALL), denormalize_latents(video(batch=2))
    done = []
    refined = refine_sampled(module, latents, progress=lambda *step: done.append(step))
    expected = denormalize_latents(module.refine(normalize_latents(latents)))
    assert torch.allclose(refined, expected, atol=1e-4)
    assert torch.equal(refined[:, :, 0], latents[:, :, 0]), "the first frame, to the bit"
    assert done[0] == (0, 8) and done[-1] == (8, 8) and (4, 8) in done, "two videos of four chunks"
    assert refine_sampled(module, latents, strength=0.0) is latents
    assert torch.equal(refine_sampled(TemporalModule(SMALL), latents), latents), "no bias, no change"
    half = refine_sampled(module, latents.bfloat16())
    assert half.dtype == torch.bfloat16 and (half.float() - refined).abs().max() < 0.5


def test_work_can_be_stopped_between_chunks():
    def stop(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_sampled(random_temporal(SMALL), video(), progress=stop)


def test_the_length_that_was_trained_is_kept_for_longer_videos():
    trained = random_temporal(TemporalConfig(width=32, heads=2, layers=2, length=2))
    free = random_temporal(SMALL)
    latents = video(13)
    assert torch.equal(trained.refine(latents), free.refine(latents, length=2))
    assert not torch.equal(trained.refine(latents), free.refine(latents)), "which are four chunks of three"
    assert held_bytes(trained, latents) == held_bytes(trained, video(81)), "not by the length of the video"


def test_the_picture_shows_where_and_when_latents_changed():
    before = denormalize_latents(video(8, 4, 6))
    after = before.clone()
    after[:, :, 4, 1, 2] += 1.0
    colours, offset = torch.zeros(16, 3), torch.zeros(3)  # before and after are grey
    picture = bias_picture(before, after, colours, offset)[0]
    assert picture.min() >= 0 and picture.max() <= 1
    heat = bias_picture(before, after, colours, offset)[0] - bias_picture(before, before, colours, offset)[0]
    top, column = 12 + 3 * 22 + 2 * 120, 4  # the third row
    rows, columns = (heat.abs().sum(2) > 0.5)[top : top + 120].nonzero().unbind(1)
    left = 12 + column * (180 + 12)
    assert left <= columns.min() and columns.max() < left + 180, "one frame"
    assert 10 < rows.float().mean() < 65 and 60 < columns.float().mean() - left < 100, "one place"
    with pytest.raises(SlotIDError, match="both must be of one video"):
        bias_picture(before, after[:, :, :5], colours, offset)
