"""What a dry run says: counts of the published models, memory near what a real step keeps, and nothing trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from training_settings import command, make_world, run, settings, write_settings

from slotid_core.training.config import read_config
from slotid_core.training.cost import GPUS
from slotid_core.training.dry_run import cost_of_options, estimate
from tools import recipe_table

CONFIGS = Path(__file__).parents[2] / "slotid_core" / "training" / "configs"


@pytest.mark.parametrize(
    ("name", "frozen", "limit"),
    [
        ("wan_14b_8x80gb", 14_288_491_584, 80), ("wan_1_3b_24gb", 1_418_996_800, 24),
        ("wan_14b_8x80gb_st_drc", 14_288_491_584, 80), ("wan_1_3b_24gb_st_drc", 1_418_996_800, 24),
    ],
)  # fmt: skip
def test_presets_count_the_published_models_and_fit(name, frozen, limit):
    config = read_config(CONFIGS / f"{name}.yaml")
    figures = estimate(config, gpus=8 if config.run.distribution == "fsdp" else 1)
    assert figures["frozen_parameters"] == frozen
    assert 20e6 < figures["trainable_parameters"] < 0.05 * frozen
    assert figures["memory_gib_a_gpu"] < limit
    one = estimate(config, gpus=1)
    if config.run.distribution == "fsdp":
        assert one["frozen_gib_a_gpu"] == pytest.approx(frozen * 2 / 2**30)
        assert figures["frozen_gib_a_gpu"] < one["frozen_gib_a_gpu"] / 4


def test_a_system_that_appends_tokens_counts_them():
    video, longer = (
        estimate(read_config(CONFIGS / f"wan_1_3b_24gb{name}.yaml"), gpus=1)["video_tokens_a_gpu"]
        for name in ("", "_st_drc")
    )
    assert video == 17 * 30 * 45 and longer == 18 * 30 * 45


def test_every_recipe_fits_its_machine_and_the_page_says_what_it_takes():
    page = recipe_table.page()
    assert recipe_table.PAGE.read_text(encoding="utf-8") == page, "run python -m tools.recipe_table --write"
    for path in recipe_table.recipes():
        memory, days = (float(page.split(f"| `{path.stem}` |")[1].split("|")[column]) for column in (6, 9))
        assert memory < 0.9 * GPUS[recipe_table.machine_of(path)[1]].gib and days < 30, path.stem


def test_the_cost_of_an_option_is_told_before_it_is_chosen():
    """Swapping every block of the 14B model, and keeping its weights in eight bits, makes it fit a small GPU."""
    config = read_config(CONFIGS / "wan_14b_8x80gb.yaml", ["run.distribution=ddp"])
    told = cost_of_options(config, 1, "rtx_4090")
    plain = told["as it is"]
    none, half, every = (told[f"model.swapped_blocks: {count}"] for count in (0, 20, 40))
    assert plain == none
    assert none["memory_gib_a_gpu"] > half["memory_gib_a_gpu"] > every["memory_gib_a_gpu"] < 24
    assert every["seconds_by_arithmetic"] == none["seconds_by_arithmetic"], "copies hide behind products"
    eager = told["model.activation_checkpointing: false"]
    assert eager["memory_gib_a_gpu"] > plain["memory_gib_a_gpu"]
    assert eager["seconds_by_arithmetic"] < plain["seconds_by_arithmetic"]
    sharded = cost_of_options(replace(config, run=replace(config.run, distribution="fsdp")), 8, "h100")
    none, every = (sharded[f"model.swapped_blocks: {count}"]["memory_gib_a_gpu"] for count in (0, 40))
    assert none == sharded["as it is"]["memory_gib_a_gpu"]
    # Each of eight GPUs kept an eighth of the blocks, and keeps two buffers in place of two gathered ones.
    assert none - every == pytest.approx(40 / 8 * 0.654, rel=0.05)


def test_a_dry_run_times_steps_and_writes_nothing(tmp_path):
    world = make_world(tmp_path / "world")
    config = write_settings(tmp_path / "config.json", settings(world))
    result = run(command(config, tmp_path / "run", "--dry-run", "--json", str(tmp_path / "figures.json")))
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["samples"] == 8 and figures["people"] == 4 and figures["epochs"] == 10
    assert figures["seconds_a_step"] > 0 and figures["hours"] == pytest.approx(figures["seconds_a_step"] * 20 / 3600)
    assert not (tmp_path / "run").exists()


def test_a_missing_model_without_a_shape_is_refused():
    config = read_config(CONFIGS / "wan_1_3b_24gb.yaml")
    with pytest.raises(Exception, match="model.shape"):
        estimate(replace(config, model=replace(config.model, shape="")), gpus=1)
