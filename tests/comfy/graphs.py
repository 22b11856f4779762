"""API workflows that the server tests queue, built in Python so that a test can change one thing."""

STEPS = 3


def base_graph(model=("model", 0)) -> dict:
    """Toy world, prompts and an empty latent; sampled by core's KSampler and saved as a latent."""
    return {
        "model": node("SlotIDLoadToyWorld", weights="random"),
        "positive": node("CLIPTextEncode", clip=["model", 1], text="a woman smiles"),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "latent": node("EmptyHunyuanLatentVideo", width=64, height=64, length=9, batch_size=1),
        "sample": node(
            "KSampler", model=list(model), positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=7, steps=STEPS, cfg=5.0, sampler_name="euler", scheduler="simple",
            denoise=1.0,
        ),
        "save": node("SaveLatent", samples=["sample", 0], filename_prefix="latents/test"),
    }  # fmt: skip


def person(name: str, color: int) -> dict:
    """Nodes that make an identity from a plain coloured clip; its output is (name, 0)."""
    return {
        f"{name} picture": node("EmptyImage", width=128, height=128, batch_size=9, color=color),
        f"{name} portrait": node("EmptyImage", width=128, height=128, batch_size=1, color=color),
        f"{name} clip latent": node("VAEEncode", vae=["model", 2], pixels=[f"{name} picture", 0]),
        f"{name} portrait latent": node("VAEEncode", vae=["model", 2], pixels=[f"{name} portrait", 0]),
        "adapter": node("SlotIDLoadAdapter", adapter_name="toy_world_random"),
        f"{name} slots": node("SlotIDTemporalEncoder", adapter=["adapter", 0], clip_latent=[f"{name} clip latent", 0]),
        f"{name} anchors": node(
            "SlotIDImageAnchor", adapter=["adapter", 0], portrait_latent=[f"{name} portrait latent", 0]
        ),
        name: node(
            "SlotIDBlend", adapter=["adapter", 0], slots=[f"{name} slots", 0], anchors=[f"{name} anchors", 0],
            gate_mode="as trained",
        ),
    }  # fmt: skip


def applied(identity: str, model=("model", 0), strength: float = 1.0, **settings) -> dict:
    values = dict(start_percent=0.0, end_percent=1.0, blocks="all", conditionings="positive") | settings
    return node("SlotIDApplyIdentity", model=list(model), identity=[identity, 0], strength=strength, **values)


def with_person(color: int = 0xC08060, strength: float = 1.0, **settings) -> dict:
    graph = base_graph(model=("apply", 0)) | person("ann", color)
    return graph | {"apply": applied("ann", strength=strength, **settings)}


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}
