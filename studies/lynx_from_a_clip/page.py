"""docs/lynx_from_a_clip.md, from figures alone."""

from studies.lynx_from_a_clip.measure import FRAMES, MOMENTS, WAYS

COMMAND = "python -m studies.lynx_from_a_clip"
INTRODUCTION = """# Lynx from a clip

Lynx reads who somebody is off one picture. Of a clip, *Lynx Face Embedding* averages the embeddings of up to {moments}
best moments, and leaves out those that resemble the others too little. How much better is a person known so?

`{command}` measures it and writes this page from [figures.json](lynx_from_a_clip/figures.json). A person is known by
the frame in the middle of a clip, by its best frame, or by the clip (up to {frames} frames of it). Cosines are between
two clips of one person, and between clips of two people. *Apart* is the distance of their means in pooled standard
deviations (d'). Intervals are 95% bootstrap intervals over people.

The face network that Lynx reads, facexlib's IR-SE50, comes in no package. So real people are measured with another real
recogniser; that Lynx's own network gains as much is likely, and not shown here.
"""
WHAT = {
    "real": "Real clips, halves of each, by {recogniser}",
    "toy": "Toy world: drawn people in two scenes each, by {recogniser}",
}


def page(figures: dict) -> str:
    lines = [INTRODUCTION.format(command=COMMAND, moments=MOMENTS, frames=FRAMES)]
    for part, title in WHAT.items():
        lines += ["## " + title.format(recogniser=figures.get(f"{part}.recogniser", "a recogniser")), ""]
        if f"{part}.people" not in figures:
            lines += [f"Not measured yet: `{COMMAND} --parts {part}`.", ""]
            continue
        lines += ["| known by | same person, mean (least) | two people, mean (most) | apart |", "|---|---|---|---|"]
        for way in WAYS:
            key = f"{part}.{way.replace(' ', '_')}"
            f = {name: figures[f"{key}.{name}"] for name in ("same", "same_least", "different", "different_most")}
            lines.append(
                f"| {way} | {f['same']:.3f} ({f['same_least']:.3f}) | {f['different']:.3f} ({f['different_most']:.3f}) "
                f"| {figures[f'{key}.separation']:.2f} |"
            )
        lines += ["", *(difference(figures, part, way) for way in WAYS[:2]), tally(figures, part), ""]
    return "\n".join(lines)


def difference(figures: dict, part: str, way: str) -> str:
    key = f"{part}.clip_minus_{way.replace(' ', '_')}"
    return (
        f"- The clip against the {way}, same person: {figures[key]:+.3f} "
        f"[{figures[f'{key}.low']:+.3f}, {figures[f'{key}.high']:+.3f}]."
    )


def tally(figures: dict, part: str) -> str:
    return (
        f"- {figures[f'{part}.people']:g} people; {figures[f'{part}.left_out']:g} of {figures[f'{part}.moments']:g} "
        f"moments were left out; in {figures[f'{part}.unseen']:g} clips the recogniser found no face."
    )
