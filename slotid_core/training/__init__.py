"""Training of adapters on a frozen Wan backbone: one loop, one strategy a system."""
