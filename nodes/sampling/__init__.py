"""Sampling with separate scales for the prompt and the person, for all systems."""

from . import guider, sampler

NODES = [*guider.NODES, *sampler.NODES]
