"""What a person sees in the graph: sockets, tooltips, validation, and one call into `slotid_core` each."""

from . import adapter, guider, identity, model, paths, reference, sampler, toy_world

paths.register_folders()

NODES = [
    *reference.NODES,
    *adapter.NODES,
    *identity.NODES,
    *model.NODES,
    *guider.NODES,
    *sampler.NODES,
    *toy_world.NODES,
]
