"""Classifier-free guidance with two scales, one for the text and one for the person.

∅ is no text, c the prompt, id the person; v is the model's prediction:

    text first      v(∅,∅) + s_text [v(c,∅) - v(∅,∅)] + s_id [v(c,id) - v(c,∅)]
    identity first  v(∅,∅) + s_id [v(∅,id) - v(∅,∅)] + s_text [v(c,id) - v(∅,id)]

With equal scales both are ordinary guidance, v(∅,∅) + s [v(c,id) - v(∅,∅)].
"""

from typing import Literal

GuidanceOrder = Literal["text first", "identity first"]
ORDERS: tuple[GuidanceOrder, ...] = ("text first", "identity first")


def scales_in_order(order: GuidanceOrder, text_scale: float, identity_scale: float) -> tuple[float, float]:
    """(scale of the step to the middle prediction, scale of the step from there to the full one)."""
    return (text_scale, identity_scale) if order == "text first" else (identity_scale, text_scale)
