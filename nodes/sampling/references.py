"""References that core's own nodes put into conditionings, such as Phantom's and Bernini's, and none in their place."""

import comfy.latent_formats
import torch

# Core's names for pictures or videos of somebody in a conditioning -> what stands for none: left out, or zero pictures
# as the model was trained with.
APPENDED, IN_CONTEXT, LATENTS = "time_dim_concat", "context_latents", "reference_latents"
REFERENCES = (APPENDED, IN_CONTEXT, LATENTS)
Conditioning = list


def has_references(conditioning: Conditioning) -> bool:
    return any(values.get(name) is not None for _, values in conditioning for name in REFERENCES)


def without_references(conditioning: Conditioning) -> Conditioning:
    """The same text without the references.

    Phantom's null is a black picture in the references' place, as core's node makes it; the others have none.
    """
    return [[text, dict(changed(values))] for text, values in conditioning]


def changed(values: dict):
    for name, value in values.items():
        if name == APPENDED and value is not None:
            yield name, comfy.latent_formats.Wan21().process_out(torch.zeros_like(value))
        elif name not in REFERENCES:
            yield name, value


def with_references_of(conditioning: Conditioning, source: Conditioning) -> Conditioning:
    """The same text with the references of `source`, whose first entry that has some says which."""
    found = next(values for _, values in source if any(values.get(name) is not None for name in REFERENCES))
    given = {name: found[name] for name in REFERENCES if name in found}
    return [[text, {**{name: value for name, value in values.items() if name not in REFERENCES}, **given}]
            for text, values in conditioning]  # fmt: skip
