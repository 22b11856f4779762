"""What a person sees in the graph: sockets, tooltips, validation, and one call into `slotid_core` each."""

from . import (
    adapter,
    guider,
    identity,
    lynx,
    lynx_face,
    lynx_paths,
    lynx_reference,
    model,
    paths,
    reference,
    sampler,
    toy_world,
    training,
)

paths.register_folders()
lynx_paths.register_folders()

NODES = [
    *reference.NODES,
    *adapter.NODES,
    *identity.NODES,
    *model.NODES,
    *guider.NODES,
    *sampler.NODES,
    *lynx.NODES,
    *lynx_face.NODES,
    *lynx_reference.NODES,
    *toy_world.NODES,
    *training.NODES,
]
