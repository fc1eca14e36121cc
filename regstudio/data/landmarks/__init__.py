"""Landmarks of images: their files, in five forms, and whether those of two images correspond."""
