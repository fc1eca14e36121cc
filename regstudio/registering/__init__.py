"""Registering two images, or a folder of files with its results, metrics and journal."""
