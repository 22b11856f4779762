"""Training with one stream alone is what an identity of that stream alone does."""

import pytest
import torch
from conftest import tiny_wan
from training_settings import ADAPTER

from slotid_core.config import config_from_dict
from slotid_core.errors import SlotIDError
from slotid_core.systems.contract import SharedObjective, StrategySettings
from slotid_core.systems.slot_id.inference import predict_velocity
from slotid_core.systems.slot_id.strategy import GATE, TOKEN_MASK, ObjectiveSettings, Strategy


def strategy(adapter=ADAPTER, **objective) -> Strategy:
    torch.manual_seed(0)
    own = config_from_dict(ObjectiveSettings, objective)
    made = Strategy(StrategySettings(adapter, SharedObjective(), own, steps=10), tiny_wan())
    for parameter in made.adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def drawn(made: Strategy, count: int) -> list[tuple[torch.Tensor, float]]:
    generator = torch.Generator().manual_seed(1)
    draws = [made.draw(generator) for _ in range(count)]
    return [(one[TOKEN_MASK], float(one[GATE])) for one in draws]


@pytest.mark.parametrize("alone", ["clip", "portrait"])
def test_a_sample_with_one_stream_is_predicted_as_with_an_identity_of_that_stream(alone):
    made = strategy()
    clip, portrait = torch.randn(1, 16, 2, 4, 4), torch.randn(1, 16, 1, 2, 2)
    video, image = made.adapter.streams(clip, portrait)
    noisy, level, context = torch.randn(1, 16, 1, 4, 4), torch.tensor([0.6]), torch.zeros(1, 20, 4096)
    context[:, :5] = torch.randn(5, 4096)
    gate = torch.tensor([1.0 if alone == "portrait" else 0.0])
    kept = made.tokens_of(gate)[None]
    with torch.no_grad():
        both = made.adapter.identity(video, image)
        one = made.adapter.identity(*((video, None) if alone == "clip" else (None, image)))
        trained = predict_velocity(made.model, noisy, level, context, both, None, kept, gate)
        used = predict_velocity(made.model, noisy, level, context, one)
        together = predict_velocity(made.model, noisy, level, context, both)
    torch.testing.assert_close(trained, used, atol=1e-5, rtol=1e-5)
    assert (trained - together).abs().max() > 1e-3


def test_half_of_those_with_one_stream_have_the_clip():
    made = strategy(stream_dropout=0.6, token_dropout=0.0)
    draws = drawn(made, 1000)
    both = sum(gate != gate for _, gate in draws)  # NaN: as the schedule has it
    clip = sum(gate == 0 for _, gate in draws)
    portrait = sum(gate == 1 for _, gate in draws)
    assert both + clip + portrait == 1000
    assert abs(both - 400) < 60 and abs(clip - 300) < 60
    encoder, anchor = made.adapter.config.encoder, made.adapter.config.anchor
    assert encoder is not None and anchor is not None
    slots, anchors = encoder.reader.num_slots, anchor.num_anchors
    for kept, gate in draws:
        wanted = {0.0: slots, 1.0: anchors}.get(gate, slots + anchors)
        assert kept.sum() == wanted


def test_without_it_draws_are_what_they_were():
    plain, asked = strategy(), strategy(stream_dropout=0.0)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(drawn(plain, 20), drawn(asked, 20), strict=True))
    assert all(gate != gate for _, gate in drawn(plain, 20))


def test_an_adapter_of_one_stream_keeps_it():
    made = strategy(ADAPTER | {"anchor": None}, stream_dropout=1.0, token_dropout=0.0)
    assert all(kept.all() and gate != gate for kept, gate in drawn(made, 20))


def test_a_share_outside_of_0_to_1_is_refused():
    with pytest.raises(SlotIDError, match="stream_dropout"):
        ObjectiveSettings(stream_dropout=1.5)
