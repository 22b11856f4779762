"""What a report says of a fault, and numbers that agree with the sentence they stand in."""

from dataclasses import dataclass

STEPS = 1e-9  # what floating point may add to a value that lies on a step


@dataclass(frozen=True)
class Advice:
    """What is missing, and what to film instead."""

    fact: str
    missing: str
    remedy: str
    serious: bool = False


def compared(value: float, limit: float, digits: int = 2) -> str:
    """The value with as many digits as it takes to differ from its limit: 0.196 beside 0.2, not 0.20."""
    for more in range(digits, 7):
        text = f"{value:.{more}f}"
        if (float(text) < limit) == (value < limit) and (float(text) > limit) == (value > limit):
            return text
    return f"{value:g}"


def percent(value: float, digits: int = 2) -> str:
    """A share of a hundred; what is not nothing is not shown as nothing."""
    text = f"{value:.{digits}f}"
    return f"under {10**-digits:.{digits}f}%" if float(text) == 0 and value > STEPS else f"{text}%"
