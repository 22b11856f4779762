"""The colours of curves, in the page and in pictures."""

COLOURS = ("#1f6fb4", "#c4572e", "#3a8f4b", "#7d4fb0", "#8a6d1b")
