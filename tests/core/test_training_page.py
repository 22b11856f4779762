"""What a run shows while it goes: its page, its curves, and trackers that must not end it."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from training_settings import make_world, settings

from slotid_core.errors import SlotIDError
from slotid_core.training.config import config_from_settings
from slotid_core.training.events import Events
from slotid_core.training.loop import train
from slotid_core.training.run_page import write_page
from slotid_core.training.trackers import TRACKERS, Trackers, flat


class Page(HTMLParser):
    """Pictures, cells and text of a page, which must be well-formed."""

    def __init__(self, path: Path):
        super().__init__()
        self.pictures: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            facts = dict(attrs)
            source = facts["src"]
            assert facts["alt"] and source
            self.pictures.append(source.split("?")[0])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())

    @property
    def words(self) -> str:
        return " ".join(part for part in self.text if part)


def test_a_run_has_a_page_with_its_curves_figures_and_samples(tmp_path):
    world = make_world(tmp_path / "world")
    run = {"steps": 4, "save_every": 2, "validate_every": 2, "validation_samples": 8, "sample_every": 2}
    assert train(config_from_settings(settings(world, run=run)), tmp_path / "my <run>") is not None
    page = Page(tmp_path / "my <run>" / "run.html")
    assert "my <run>" in page.words and "finished: step 4 of 4" in page.words and "seconds a step" in page.words
    assert "validation loss mismatched" in page.words and "validation loss at 0.06" in page.words
    assert page.pictures == ["loss.png", "samples_00000004.png", "samples_00000002.png"], "the newest first"
    assert all((tmp_path / "my <run>" / name).stat().st_size > 1000 for name in page.pictures)
    assert "http" not in (tmp_path / "my <run>" / "run.html").read_text().replace("http-equiv", ""), "nothing from afar"


def test_the_page_says_how_long_it_goes_on(tmp_path):
    log = [{"step": step, "loss": 1.0, "seconds": 90.0} for step in range(10)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    words = Page(write_page(tmp_path, 50, "training")).words
    assert "training: step 10 of 50, 90.00 seconds a step, 1 h 0 min to go" in words
    assert "2 d 2 h to go" in Page(write_page(tmp_path, 2010, "training")).words
    (tmp_path / "log.jsonl").write_text("")
    assert "step 0 of 50" in Page(write_page(tmp_path, 50, "training")).words


def test_a_tracker_that_is_none_or_is_missing_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(SlotIDError, match=r"--track is 'excel'; it is one of aim, .*wandb"):
        Events(tmp_path / "a", 2, as_json=False, is_first=True, track=["excel"])
    missing = [name for name in ("comet_ml", "aim", "clearml") if not has(name)]
    assert missing, "one of three that nobody has all of"
    with pytest.raises(SlotIDError, match=f"--track {missing[0]} needs a package"):
        Events(tmp_path / "b", 2, as_json=False, is_first=True, track=[missing[0]])
    assert not (tmp_path / "b" / "log.jsonl").exists()


def test_a_tracker_that_fails_is_given_up_and_the_run_goes_on(tmp_path, capsys):
    class Broken:
        calls = 0

        def log(self, figures, step):
            Broken.calls += 1
            raise ConnectionError("no route")

    events = Events(tmp_path, 3, as_json=True, is_first=True)
    events.trackers.known["wandb"] = Broken()
    for step in range(3):
        events.step(step, {"loss": 1.0, "seconds": 0.1})
    events.close("finished")
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lost = [line for line in said if line["event"] == "no longer tracked"]
    assert lost == [{"event": "no longer tracked", "by": "wandb", "reason": "no route"}] and Broken.calls == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_settings_are_told_by_dotted_name():
    given = {"run": {"steps": 4, "prompts": ["a", "b"]}, "data": {"own": {"share": 0.5, "on": True}}, "none": None}
    assert flat(given) == {
        "run.steps": 4, "run.prompts": "['a', 'b']", "data.own.share": 0.5, "data.own.on": True, "none": "None",
    }  # fmt: skip


def test_accelerate_has_all_of_them():
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    assert set(TRACKERS) <= set(map(str, LOGGER_TYPE_TO_CLASS))


@pytest.mark.skipif("not has('wandb')", reason="wandb is not installed")
def test_wandb_gets_figures_and_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    trackers = Trackers(["wandb"], tmp_path, {"run": {"steps": 3}})
    assert trackers.known["wandb"].tracker.config["run.steps"] == 3
    assert [trackers.log({"loss": 1.0 / (step + 1)}, step) for step in range(3)] == [[], [], []]
    assert trackers.close() == []
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert b"run.steps" in content and b"loss" in content


def has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
