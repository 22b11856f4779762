"""Draw the toy world, train its models, and judge them on people they have never seen."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import config_from_dict
from ..errors import SlotIDError
from ..files import read_json, write_json


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    options.run(options)
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m slotid_core.toy_world", description=__doc__)
    root.add_argument("--threads", type=int, default=0, help="CPU threads; bit-exact resuming needs the same number")
    commands = root.add_subparsers(required=True, metavar="command")

    render = commands.add_parser("render", help="a sheet of held-out people: portrait, reference clip, other scenes")
    render.add_argument("--people", type=int, default=6, help="how many, default 6")
    render.add_argument("--clips", type=Path, help="write reference clips as mp4 files into this folder instead")
    render.add_argument("--first", type=int, help="seed of the first person of --clips; default: the pack's examples")
    render.add_argument("--size", type=int, default=128, help="side of a frame in pixels, default 128")
    render.set_defaults(run=run_render)

    train = commands.add_parser("train", help="train one part to its end, from its last checkpoint, and ship it")
    train.add_argument("part", choices=PARTS)
    train.add_argument("--config", type=Path, help="JSON file of settings; unknown ones are an error")
    train.set_defaults(run=run_train)

    ship = commands.add_parser("ship", help="ship the last checkpoint of a part, finished or not, with its figures")
    ship.add_argument("part", choices=PARTS)
    ship.add_argument("--config", type=Path, help="the settings it is trained with")
    ship.set_defaults(run=run_ship)

    evaluate = commands.add_parser("evaluate", help="figures of the shipped parts on held-out people")
    evaluate.set_defaults(run=run_evaluate)

    everything = commands.add_parser("all", help="train and ship every part in order, then evaluate")
    everything.set_defaults(run=run_all)

    for command in (render, train, ship, evaluate, everything):
        command.add_argument(
            "--folder", type=Path, default=Path("output/toy_world"), help="checkpoints, curves, sheets"
        )
        command.add_argument("--weights", type=Path, help="shipped weights; default: inside the package")
        command.add_argument("--device", default="cpu", help="where the models learn: cpu, or cuda with a GPU")
        command.add_argument("--seed", type=int, default=0, help="seed of the held-out people, default 0")
        command.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    return root


def run_render(options) -> None:
    """Clips as files; or a sheet, one row a person: portrait, five moments of the reference clip, four other scenes."""
    if options.clips:
        from .example import write_clips

        for path in write_clips(options.clips, options.first, options.people):
            print(path)
        return
    import torch

    from .evaluate import held_out, save_sheet
    from .render import render_clip, render_portrait, render_reference
    from .scene import ACTIONS, BACKGROUNDS, CLOTHES, sample_scene

    people, _ = held_out(options.seed, options.people)
    rows = []
    for row, person in enumerate(people):
        reference = render_reference(person, row, 33, options.size)
        scenes = [
            sample_scene(
                900 + 7 * row + column,
                action=(row + column) % len(ACTIONS),
                background=(row + 2 * column + column // 3) % len(BACKGROUNDS),
                clothes=(row + 5 * column) % len(CLOTHES),
            )
            for column in range(4)
        ]
        shown = [render_portrait(person, options.size), *reference[[4, 12, 15, 20, 29]]]
        shown += [render_clip(person, scene, size=options.size)[9] for scene in scenes]
        rows.append(torch.stack(shown))
    save_sheet(torch.stack(rows), options.folder / "people.png", scale=1)
    print(options.folder / "people.png")


def run_train(options) -> None:
    part = PARTS[options.part]()
    part.train(options.folder, settings(part, options.config), options.device)
    run_ship(options)


def run_ship(options) -> None:
    from .family import WEIGHTS, ship

    part = PARTS[options.part]()
    config = settings(part, options.config)
    tensors, steps, figures = part.finish(options.folder, config, options.seed)
    # Where the other parts lay is nobody else's business, and a path of this machine.
    manifest = {"config": asdict(config) | {"weights": ""}, "seed": 0, "steps": steps, "metrics": figures}
    path = ship(options.part, tensors, manifest, options.weights or WEIGHTS)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    report(figures, options)


def run_evaluate(options) -> None:
    from .evaluate import evaluate_family
    from .evaluate_faces import evaluate_shipped_faces
    from .family import WEIGHTS

    weights = options.weights or WEIGHTS
    figures = evaluate_family(weights, options.seed, options.folder)
    report(figures | evaluate_shipped_faces(weights, options.seed), options)


def run_all(options) -> None:
    options.config = None
    for options.part in PARTS:
        run_train(options)
    run_evaluate(options)


def settings(part, file: Path | None):
    return config_from_dict(part.config, read_json(file, "Correct --config.") if file else {})


def report(figures: dict[str, float], options) -> None:
    for name, value in figures.items():
        print(f"toy world  {name:<36} {value:.4f}")
    if options.json:
        write_json(options.json, figures)


@dataclass(frozen=True)
class Part:
    """`train(folder, config, device)`; `finish(folder, config, seed)` gives tensors to ship, steps, and figures."""

    config: type
    train: Callable
    finish: Callable


def _vae() -> Part:
    from . import train_vae as module

    return Part(module.VAETraining, module.train_vae, module.finish_vae)


def _face_judge() -> Part:
    from . import train_judges as module

    return Part(module.FaceJudgeTraining, module.train_face_judge, module.finish_face_judge)


def _clip_judge() -> Part:
    from . import train_judges as module

    return Part(module.ClipJudgeTraining, module.train_clip_judge, module.finish_clip_judge)


def _mark_judge() -> Part:
    from . import train_mark_judge as module

    return Part(module.MarkJudgeTraining, module.train_mark_judge, module.finish_mark_judge)


def _face_recogniser() -> Part:
    from . import train_face_recogniser as module

    return Part(module.FaceRecogniserTraining, module.train_face_recogniser, module.finish_face_recogniser)


def _text_encoder() -> Part:
    from . import train_text_encoder as module

    return Part(module.TextEncoderSettings, module.train_text_encoder, module.finish_text_encoder)


def _dit() -> Part:
    from . import train_dit as module

    return Part(module.DiTTraining, module.train_dit, module.finish_dit)


# In the order in which they build on each other; imported only when asked for.
PARTS = {
    "vae": _vae,
    "text_encoder": _text_encoder,
    "face_judge": _face_judge,
    "clip_judge": _clip_judge,
    "mark_judge": _mark_judge,
    "face_recogniser": _face_recogniser,
    "dit": _dit,
}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"toy_world: {error}")
