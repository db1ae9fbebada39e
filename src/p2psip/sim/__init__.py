"""A virtual world for the same cores: a seed and a commit replay a run exactly."""
