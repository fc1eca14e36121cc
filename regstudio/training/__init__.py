"""From settings to a trained network: setup, loop, step, validation, checkpointing."""
