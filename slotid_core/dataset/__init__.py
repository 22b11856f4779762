"""From clips to cached training samples: sources, preparation, shards, and reading them back."""
