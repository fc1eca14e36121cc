"""Pairs of images, and the batches of a training."""
