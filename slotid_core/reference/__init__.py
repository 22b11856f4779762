"""From a person's clip to what the encoders read: frames, a steady square face clip, a portrait."""
