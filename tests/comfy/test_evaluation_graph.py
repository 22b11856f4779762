"""`evaluation graph` through a real server: two people, one of whom has a clip that no decoder reads."""

import json

import numpy as np
import pytest
from PIL import Image

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.videos import read_frames
from slotid_core.toy_world.person import DYNAMICS

SEED = 4242
ROWS = ("", "frames.", "lab.")


def run(folder, server: str, *more: str) -> dict:
    figures = folder / "figures.json"
    arguments = ["--identities", "2", "--prompts", "1", "--seed", str(SEED), "--steps", "2", "--server", server]
    main(["graph", *arguments, "--folder", str(folder / "people"), "--json", str(figures), *more])
    return json.loads(figures.read_text())


@pytest.fixture(scope="module")
def ran(server, tmp_path_factory):
    """The folder of a run, and its figures."""
    folder = tmp_path_factory.mktemp("graph")
    broken = subjects_of(SEED, 2, 1)[1]
    clip = folder / "people" / f"person_{broken.seed}" / f"person_{broken.seed}.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"this is no video")
    return folder, run(folder, server.address, "--sheet", str(folder / "sheet.png"))


def test_an_unreadable_clip_is_an_error_and_the_other_person_is_judged(ran):
    folder, figures = ran
    assert (figures["errors"], figures["prompts"]) == (1, 2)
    good, broken = (subject.seed for subject in subjects_of(SEED, 2, 1))
    errors = (folder / "figures.json.errors.txt").read_text()
    assert f"person {broken}, prompt 0: SlotIDLoadReferenceVideo" in errors and str(good) not in errors
    names = ("similarity", "rank1", "action", "background", "clothes", *(f"dynamics.{name}" for name in DYNAMICS))
    assert {f"{row}{name}{end}" for row in ROWS for name in names for end in ("", ".low", ".high")} <= figures.keys()
    for row in ROWS:
        assert -1 <= figures[f"{row}similarity"] <= 1
    assert np.isfinite(figures["share_of_lab"]) and figures["seconds_per_prompt"] > 0
    assert Image.open(folder / "sheet.png").width > 1000


def test_saved_video_and_the_frames_before_its_codec_are_the_same_clip(ran):
    folder, _ = ran
    person = folder / "people" / f"person_{subjects_of(SEED, 1, 1)[0].seed}"
    saved = read_frames(person / "0.mp4")[0].astype(float)
    sampled = np.stack([np.asarray(Image.open(path)) for path in sorted((person / "0_frames").iterdir())]).astype(float)
    assert saved.shape == sampled.shape == (17, 64, 64, 3)
    assert 0 < np.abs(saved - sampled).mean() < 8
    assert Image.open(person / "portrait.png").size[0] >= 64


def test_what_has_ended_needs_no_server_and_gives_the_same_figures(ran):
    folder, figures = ran
    again = run(folder, "127.0.0.1:9")
    assert json.dumps(again) == json.dumps(figures)


def test_other_settings_do_not_go_on_in_the_same_folder(ran, server):
    with pytest.raises(SlotIDError, match="another seed"):
        run(ran[0], server.address, "--seed", "1")


def test_a_server_without_the_nodes_is_named(server, tmp_path):
    nodes = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "x.mp4"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["3", 0]}},
        "3": {"class_type": "NoSuchLoader", "inputs": {}},
        "4": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0]}},
        "5": {"class_type": "SaveVideo", "inputs": {"video": ["4", 0]}},
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(nodes))
    with pytest.raises(SlotIDError, match="has no node NoSuchLoader"):
        run(tmp_path, server.address, "--workflow", str(path))


@pytest.mark.parametrize("name", ["lynx_text_to_video", "st_drc_text_to_video", "lavie_id_text_to_video"])
def test_the_template_of_every_system_is_measured(server, tmp_path, name):
    arguments = ["--workflow", name, "--identities", "1", "--prompts", "1", "--seed", str(SEED), "--steps", "1"]
    folder, figures, sheet = tmp_path / "people", tmp_path / "figures.json", tmp_path / "sheet.png"
    kept = ["--folder", str(folder), "--json", str(figures), "--sheet", str(sheet)]
    main(["graph", *arguments, "--server", server.address, *kept])
    found = json.loads(figures.read_text())
    assert (found["errors"], found["prompts"]) == (0, 1) and -1 <= found["similarity"] <= 1
    (person,) = folder.glob("person_*")
    assert (person / "portrait.png").is_file() and (person / "0.mp4").is_file(), "what is shown of the reference"
    assert Image.open(sheet).height > 100
