"""LaVieID (ACM MM 2025): a face in its parts, routed to where each is drawn; latents refined through time."""
