"""Evaluation of what a user gets: clips as files, through a real ComfyUI server and an API workflow."""
