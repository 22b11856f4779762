"""What a run says while it goes: a bar or JSON lines, a log file, a curve, a page, TensorBoard and other trackers."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ..files import whole_file, write_text
from .run_page import write_page
from .trackers import Trackers

AT_LEVEL = "_loss_at_"  # in the name of a validation's loss at one noise level


class Events:
    """Tells the first process's progress; other processes are silent.

    Args:
        folder: gets `log.jsonl` (one line a step), `loss.png`, `run.html`, and TensorBoard's files where that is
            installed.
        as_json: one JSON object a line on standard output instead of a bar, for programs that watch.
        resumed_at: log lines of later steps, written by a run that was killed, are dropped.
        track: names of further trackers, which get `settings` too; see `trackers`.
    """

    def __init__(
        self, folder: Path, steps: int, as_json: bool, is_first: bool, resumed_at: int = 0, track: Sequence[str] = (),
        settings: dict | None = None,
    ):  # fmt: skip
        self.is_first, self.as_json, self.steps = is_first, as_json, steps
        self.log_path = folder / "log.jsonl"
        if not is_first:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.trackers = Trackers(track, folder, settings or {})
        keep_before(self.log_path, resumed_at)
        self.log = self.log_path.open("a", buffering=1)  # by lines: a step is on disk before its checkpoint is
        self.bar = None if as_json else tqdm(total=steps, initial=resumed_at, desc="training", mininterval=2)
        self.board = tensorboard(folder, resumed_at)

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Figures of step number `step`, counted from 0."""
        if not self.is_first:
            return
        self.write(step, figures, step)
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
        else:
            self.say("step", step=step, **figures)

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """Held-out figures after `step` steps."""
        if not self.is_first:
            return
        self.write(step - 1, figures, step)
        self.say("validation", step=step, **figures)

    def write(self, step: int, figures: dict[str, float], shown_at: int) -> None:
        """Into the log, and to those who draw them."""
        self.log.write(json.dumps({"step": step, **figures}) + "\n")
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(name, value, shown_at)
        for name, reason in self.trackers.log(figures, shown_at):
            self.say("no longer tracked", by=name, reason=reason)

    def say(self, event: str, **facts) -> None:
        if not self.is_first:
            return
        if self.as_json:
            print(json.dumps({"event": event, **facts}), flush=True)
        elif event != "step":
            tqdm.write(f"{event}: " + ", ".join(f"{name} {shown(value)}" for name, value in facts.items()), sys.stdout)

    def picture(self) -> Path | None:
        """Draw the curves so far, and write the page anew."""
        if not self.is_first:
            return None
        drawn = plot(self.log_path, self.log_path.with_name("loss.png"))
        write_page(self.log_path.parent, self.steps, "training")
        return drawn

    def close(self, state: str = "stopped") -> None:
        """
        Args:
            state: what the page says from now on.
        """
        if self.is_first:
            self.log.close()
            for name, reason in self.trackers.close():
                self.say("not tracked to the end", by=name, reason=reason)
            write_page(self.log_path.parent, self.steps, state)
            if self.bar is not None:
                self.bar.close()
            if self.board:
                self.board.close()


def shown(value) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def keep_before(log: Path, step: int) -> None:
    """Drop lines of `step` and later; a killed run may have logged more than it saved, the last line cut short."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line)["step"] < step:
                kept.append(line + "\n")
        except json.JSONDecodeError:
            break
    write_text(log, "".join(kept))


def tensorboard(folder: Path, step: int):
    """A writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)


def draw(axis, checks: list[dict], name: str, label: str, **style) -> None:
    """A figure of the validations that have it, over steps."""
    points = [row for row in checks if name in row]
    if points:
        axis.plot([row["step"] for row in points], [row[name] for row in points], "o-", ms=3, label=label, **style)


def plot(log: Path, picture: Path) -> Path | None:
    """The loss over steps, each point a mean of neighbours, with the validations where there are any; beside it that of
    validations by noise level."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    checks = [row for row in rows if "validation_loss" in row]
    levels = [name for name in checks[-1] if AT_LEVEL in name] if checks else []
    figure, axes = plt.subplots(1, 2 if levels else 1, figsize=(13 if levels else 8, 3.5), squeeze=False)
    axis = axes[0, 0]
    window = max(1, len(steps) // 200)
    groups = [steps[i : i + window] for i in range(0, len(steps), window)]
    axis.plot([g[-1]["step"] for g in groups], [sum(r["loss"] for r in g) / len(g) for g in groups], label="training")
    for name in ("validation_loss", "validation_loss_without_identity", "validation_loss_mismatched"):
        draw(axis, checks, name, name.replace("_loss", "").replace("_", " "))
    for place, name in enumerate(levels):
        colour = plt.get_cmap("viridis")(place / max(1, len(levels) - 1))
        draw(axes[0, 1], checks, name, f"noise {name.split(AT_LEVEL)[1]}", color=colour)
    for one in axes[0]:
        one.set_xlabel("step")
        one.set_ylabel("loss")
        one.grid(alpha=0.3)
        one.legend(fontsize="small", ncols=2)
    figure.tight_layout()
    try:
        with whole_file(picture) as unfinished:
            figure.savefig(unfinished, dpi=90)
    finally:
        plt.close(figure)
    return picture
