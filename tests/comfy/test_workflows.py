"""Shipped workflows and every node, through a real server; and both forms of each workflow against the schemas."""

import copy
import json
from pathlib import Path

import av
import pytest
from graphs import applied, base_graph, node, person

from benchmarks import start_time

PACK = Path(__file__).resolve().parents[2]
WORKFLOWS = PACK / "workflows"
NAMES = sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))
# Other systems', and those for real models, run in tests of their own.
SLOT_ID_NAMES = [name for name in NAMES if name.startswith("slot_id") and "_wan_" not in name]
PREFIXES = ("SlotID", "Lynx", "STDRC", "LaVieID")
# Files that a user brings, or makes with another workflow.
OWN_FILES = (
    "person.safetensors", "person.png", "person.mp4", "left.png", "right.png", "first_frame.png", "wan_14b.safetensors",
    "wan_1_3b.safetensors", "wan_i2v_14b.safetensors", "wan_2_2_14b.safetensors",
)  # fmt: skip
# A number widget of this name gets a second value in the graph's JSON: what to do after each run.
SEEDS = ("seed", "noise_seed")


def api(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def quick(workflow: dict) -> dict:
    """The same graph with fewer frames and steps."""
    for entry in workflow.values():
        inputs = entry["inputs"]
        for key, value in (("num_frames", 17), ("steps", 2), ("length", 9)):
            if key in inputs:
                inputs[key] = value
    return workflow


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture(scope="module")
def ran(client, tmp_path_factory):
    """Both workflows as shipped but shorter, in the order a user would take: a new identity, then the same again."""
    folder = tmp_path_factory.mktemp("videos")
    videos = {}
    for name in ("slot_id_text_to_video", "slot_id_reuse_identity"):
        result = client.run(quick(api(name)))
        (entry,) = [file for file in result.files() if file["filename"].endswith(".mp4")]
        videos[name] = client.fetch(entry, folder)
    return videos


@pytest.mark.parametrize("name", SLOT_ID_NAMES)
def test_workflow_gives_a_video_of_4n_plus_1_frames(ran, name):
    assert frame_count(ran[name]) == 9


def test_every_node_of_the_pack_runs(client, ran, registered):
    """What the two workflows leave out, in one graph."""
    graph = base_graph() | person("ann", 0xC08060)
    graph["unet"] = node(
        "SlotIDLoadWanModel",
        model_name="tiny_t2v.safetensors",
        weight_dtype="default",
        adapter=["adapter", 0],
        lora_strength=1.0,
    )
    graph["gate"] = node(
        "SlotIDGateSchedule",
        family="points",
        low=0.0,
        high=1.0,
        midpoint=0.5,
        steepness=10.0,
        points="0:0, 1:0.8",
        shift=5.0,
    )
    graph["ann"]["inputs"]["gate"] = ["gate", 0]
    graph["apply"] = applied("ann", model=("unet", 0))
    graph["refined"] = node("SlotIDRefineGuidance", model=["apply", 0], parallel=0.5, norm_limit=50.0, rescale=0.7)
    graph["guider"] = node(
        "SlotIDGuider", model=["refined", 0], positive=["positive", 0], negative=["negative", 0], text_scale=5.0,
        identity_scale=2.0, order="identity first",
    )  # fmt: skip
    graph["noise"] = node("RandomNoise", noise_seed=1)
    graph["solver"] = node("KSamplerSelect", sampler_name="euler")
    graph["sigmas"] = node("BasicScheduler", model=["apply", 0], scheduler="simple", steps=2, denoise=1.0)
    graph["sample"] = node(
        "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["solver", 0],
        sigmas=["sigmas", 0], latent_image=["latent", 0],
    )  # fmt: skip
    graph["report"] = node("SlotIDReferenceReport", face_clip=["ann picture", 0], detector="auto")
    graph["ann"]["inputs"]["report"] = ["report", 1]
    graph["card"] = node("PreviewImage", images=["report", 0])
    graph["plot"] = node("PreviewImage", images=["gate", 1])
    graph["heat"] = node("PreviewImage", images=["ann slots", 1])
    client.run(graph)
    used = {entry["class_type"] for workflow in (graph, *map(api, NAMES)) for entry in workflow.values()}
    used |= {"SlotIDPrepareDataset", "SlotIDTrainEncoder"}  # `test_training_nodes` runs these
    used |= {"SlotIDLikenessScore", "SlotIDBestOfSeeds", "SlotIDLikenessGate"}  # `test_likeness` runs these
    used |= {"SlotIDRegion", "SlotIDMixIdentities", "SlotIDMergeIdentities"}  # `test_people` runs these
    assert used >= {name for name in registered if name.startswith("SlotID")}


@pytest.fixture(scope="module")
def registered(client) -> dict:
    info = client.object_info()
    return {name: info[name] for name in info if name.startswith(PREFIXES)}


def test_node_list_is_what_is_registered(registered):
    listed = json.loads((PACK / "node_list.json").read_text())
    assert set(listed) == set(registered)
    for name, description in listed.items():
        assert description == registered[name]["description"]


def test_every_socket_has_a_tooltip_and_every_node_a_help_page(client, registered):
    for name, schema in registered.items():
        assert schema["description"]
        for group in ("required", "optional"):
            for socket, (_, *options) in schema["input"].get(group, {}).items():
                assert options and options[0].get("tooltip"), f"{name}.{socket}"
        assert all(schema["output_tooltips"]), name
        page = client.get_text(f"/extensions/slotid/docs/{name}.md")
        assert page.startswith("# ") and len(page) > 200, name


@pytest.mark.parametrize("name", NAMES)
def test_graph_json_matches_the_schemas_and_the_api_form(client, name):
    """Nodes exist, links join outputs to inputs of the same type, and widgets hold the API form's values."""
    info = client.object_info()
    graph, expected = json.loads((WORKFLOWS / f"{name}.json").read_text()), api(name)
    nodes = {entry["id"]: entry for entry in graph["nodes"] if entry["type"] != "MarkdownNote"}
    assert {str(number) for number in nodes} == set(expected)
    links = {link[0]: link for link in graph["links"]}

    for number, entry in nodes.items():
        schema, inputs = info[entry["type"]], expected[str(number)]["inputs"]
        assert entry["type"] == expected[str(number)]["class_type"]
        sockets = {**schema["input"].get("required", {}), **schema["input"].get("optional", {})}
        assert set(inputs) <= set(sockets)
        linked = {socket["name"]: links[socket["link"]] for socket in entry["inputs"] if socket.get("link") is not None}
        for socket, (_, source, slot, _, _, kind) in linked.items():
            assert inputs[socket] == [str(source), slot]
            made = info[nodes[source]["type"]]["output"][slot]
            taken = sockets[socket][0]  # "*" takes any type, and so does its link
            assert kind in (made, taken) and taken in (made, "*"), (name, entry["type"], socket)
        assert {key for key, value in inputs.items() if isinstance(value, list)} == set(linked)
        widgets = {key: value for key, value in inputs.items() if key not in linked}
        # A linked socket keeps the value of its widget.
        found = {key: value for key, value in widget_values(entry, sockets).items() if key not in linked}
        if entry["type"].startswith(PREFIXES):
            assert found == widgets
        else:  # core's nodes gain widgets from release to release
            assert all(found[key] == value for key, value in widgets.items() if key in found)


def widget_values(entry: dict, sockets: dict) -> dict:
    """A graph node's widget values by name, each within what its socket allows."""
    values, found = list(entry.get("widgets_values", [])), {}
    if any(options and options[0].get("video_upload") for _, *options in sockets.values()) and "image" in values:
        values.remove("image")  # the frontend's upload button, between the required and the optional widgets
    known_files = {model["name"] for model in entry.get("properties", {}).get("models", [])} | set(OWN_FILES)
    for socket, (kind, *options) in sockets.items():
        options = options[0] if options else {}
        is_combo = isinstance(kind, list) or kind == "COMBO"
        if not is_combo and (kind not in ("INT", "FLOAT", "STRING", "BOOLEAN") or options.get("forceInput")):
            continue
        if not values and "default" in options:
            continue
        value = found[socket] = values.pop(0)
        if is_combo:
            choices = kind if isinstance(kind, list) else options["options"]
            assert value in choices or value in known_files, (entry["type"], socket, value)
        elif kind in ("INT", "FLOAT"):
            assert options["min"] <= value <= options["max"], (entry["type"], socket, value)
        if socket in SEEDS and options.get("control_after_generate"):
            assert values.pop(0) in ("fixed", "increment", "decrement", "randomize")
    return found


def test_pack_starts_fast():
    """CPU seconds, since tests run side by side; as promised."""
    assert min(start["pack"] for start in start_time.measure()) <= 0.3


def test_the_example_clip_is_offered_and_a_queue_survives_a_failing_workflow(client):
    from slotid_core.comfy_client import WorkflowError

    broken = quick(copy.deepcopy(api("slot_id_text_to_video")))
    broken["12"]["inputs"]["blocks"] = "4000"
    with pytest.raises(WorkflowError, match="4000"):
        client.run(broken)
    assert client.run(quick(api("slot_id_text_to_video"))).files()
