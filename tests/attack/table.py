"""What is counted of each kind of attack, and when the pack has held."""

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

LIMIT_SECONDS = 10.0
LIMIT_MEMORY = 2048.0  # MiB above the start
MUST_BE_ZERO = ("crashed", "hung", "outside", "left")
HEADINGS = {
    "name": "attack",
    "tried": "tried",
    "refused": "refused",
    "accepted": "accepted",
    "crashed": "crashed",
    "hung": "hung over 10 s",
    "outside": "read or written outside",
    "left": "left behind",
    "memory": "MiB above start",
}


@dataclass
class Row:
    """One kind of attack.

    Attributes:
        refused: an error of the pack's own class, or of ComfyUI's validation: a sentence that names what is wrong.
        accepted: the file loaded or the prompt ran, as the change does no harm.
        crashed: the process ended, another class of error came out, or the result is wrong.
        hung: no answer within `LIMIT_SECONDS`.
        outside: attacks after which something outside had been opened, read or written.
        left: files and processes that are there afterwards and should not be.
        memory: MiB above the start, the most that was seen.
        notes: figures that no column has.
        problems: one line for each attack that counts against the pack.
    """

    name: str
    tried: int = 0
    refused: int = 0
    accepted: int = 0
    crashed: int = 0
    hung: int = 0
    outside: int = 0
    left: int = 0
    memory: float = 0.0
    seconds: float = 0.0
    notes: str = ""
    problems: list[str] = field(default_factory=list)

    def count(self, result: str, case: str, detail: str = "") -> None:
        """
        Args:
            result: "refused", "accepted", "crashed" or "hung".
            case: what was tried, precisely enough to repeat it.
        """
        self.tried += 1
        setattr(self, result, getattr(self, result) + 1)
        if result in MUST_BE_ZERO:
            self._tell(f"{result}: {case}: {detail}")

    def add(self, column: str, case: str, found: Iterable[str]) -> None:
        """Count an attack under `column` ("outside" or "left") if anything was found."""
        if found := list(found):
            setattr(self, column, getattr(self, column) + (1 if column == "outside" else len(found)))
            self._tell(f"{column}: {case}: {', '.join(found[:5])}")

    def _tell(self, problem: str) -> None:
        self.problems.append(problem)
        print(f"{self.name}: {problem}", file=sys.stderr, flush=True)

    @property
    def held(self) -> bool:
        return (
            not self.problems and not any(getattr(self, name) for name in MUST_BE_ZERO) and self.memory < LIMIT_MEMORY
        )


def as_text(rows: list[Row]) -> str:
    """The table in Markdown, and below it what went wrong."""
    lines = ["| " + " | ".join(HEADINGS.values()) + " |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    for row in rows:
        values = [getattr(row, name) for name in HEADINGS]
        lines.append("| " + " | ".join(f"{v:.0f}" if isinstance(v, float) else str(v) for v in values) + " |")
    lines += [f"{row.name}: {row.notes}" for row in rows if row.notes]
    for row in rows:
        lines += [f"{row.name}: {problem}" for problem in row.problems]
        if row.memory >= LIMIT_MEMORY:
            lines.append(f"{row.name}: memory rose by {row.memory:.0f} MiB, {LIMIT_MEMORY:.0f} at most")
    return "\n".join(lines)


def as_json(rows: list[Row]) -> dict:
    return {"held": all(row.held for row in rows), "rows": [asdict(row) | {"held": row.held} for row in rows]}
