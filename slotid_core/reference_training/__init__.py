"""Training of the small networks that `reference` ships: the finder of drawn faces, and the parts network."""
