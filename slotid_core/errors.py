"""The one error a person is meant to read."""


class SlotIDError(ValueError):
    """Bad input. The message says what was wrong, with its value, and what to do about it."""
