"""Identity-preserving video generation on Wan, in plain PyTorch. Importing this package imports nothing else."""
