"""What a run says while it goes: a bar or JSON lines, a log file, a curve, TensorBoard."""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from ..files import whole_file, write_text


class Events:
    """Tells the first process's progress; other processes are silent.

    Args:
        folder: gets `log.jsonl` (one line a step), `loss.png`, and TensorBoard's files where that is installed.
        as_json: one JSON object a line on standard output instead of a bar, for programs that watch.
        resumed_at: log lines of later steps, written by a run that was killed, are dropped.
    """

    def __init__(self, folder: Path, steps: int, as_json: bool, is_first: bool, resumed_at: int = 0):
        self.is_first, self.as_json = is_first, as_json
        self.log_path = folder / "log.jsonl"
        if not is_first:
            return
        folder.mkdir(parents=True, exist_ok=True)
        keep_before(self.log_path, resumed_at)
        self.log = self.log_path.open("a", buffering=1)  # by lines: a step is on disk before its checkpoint is
        self.bar = None if as_json else tqdm(total=steps, initial=resumed_at, desc="training", mininterval=2)
        self.board = tensorboard(folder, resumed_at)

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Figures of step number `step`, counted from 0."""
        if not self.is_first:
            return
        self.log.write(json.dumps({"step": step, **figures}) + "\n")
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
        else:
            self.say("step", step=step, **figures)

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """Held-out figures after `step` steps."""
        if not self.is_first:
            return
        self.log.write(json.dumps({"step": step - 1, **figures}) + "\n")
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)
        self.say("validation", step=step, **figures)

    def say(self, event: str, **facts) -> None:
        if not self.is_first:
            return
        if self.as_json:
            print(json.dumps({"event": event, **facts}), flush=True)
        elif event != "step":
            tqdm.write(f"{event}: " + ", ".join(f"{name} {shown(value)}" for name, value in facts.items()), sys.stdout)

    def picture(self) -> Path | None:
        """Draw the curve of the loss so far."""
        if not self.is_first:
            return None
        return plot(self.log_path, self.log_path.with_name("loss.png"))

    def close(self) -> None:
        if self.is_first:
            self.log.close()
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


def plot(log: Path, picture: Path) -> Path | None:
    """The loss over steps, each point a mean of neighbours, with the validations where there are any."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 3.5))
    window = max(1, len(steps) // 200)
    groups = [steps[i : i + window] for i in range(0, len(steps), window)]
    axis.plot([g[-1]["step"] for g in groups], [sum(r["loss"] for r in g) / len(g) for g in groups], label="training")
    checks = [row for row in rows if "validation_loss" in row]
    for name in ("validation_loss", "validation_loss_without_identity", "validation_loss_mismatched"):
        points = [row for row in checks if name in row]
        if points:
            label = name.replace("_loss", "").replace("_", " ")
            axis.plot([row["step"] for row in points], [row[name] for row in points], "o-", ms=3, label=label)
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    try:
        with whole_file(picture) as unfinished:
            figure.savefig(unfinished, dpi=90)
    finally:
        plt.close(figure)
    return picture
