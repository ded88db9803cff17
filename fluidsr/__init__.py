"""fluidsr."""
