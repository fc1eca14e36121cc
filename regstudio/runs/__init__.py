"""The record of a training: run folder, events, curves, catalogue. Training writes it, everyone else reads it."""
