"""Checks of a whole data set before training, and their report."""
