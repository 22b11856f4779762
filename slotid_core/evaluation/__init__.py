"""Evaluation of adapters on held-out identities."""
