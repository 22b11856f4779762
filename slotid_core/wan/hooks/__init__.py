"""The ways into any Wan transformer, ComfyUI's and ours: what a system installs for one forward pass.

Every hook returns a copy of `transformer_options`; nothing is left on the model.

    blocks     run a block inside a wrapper, chained onto what is installed already
    rows       run some rows of the batch apart from the others
    text_rows  rows of the text context: over padding, or added to the prompt
    attention  branches added to a block's own attention, before its output layer
    tokens     tokens appended to the video's, with positions and modulation of their own; stripped at the end
    cache      tensors kept for a whole sampling run
    latents    the clean latents that a prediction implies
"""
