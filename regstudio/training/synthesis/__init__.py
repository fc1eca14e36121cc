"""Endless pairs to learn registration from, drawn from random shapes alone; no image of anyone is in them.

    anatomy   a map of labels, on a canvas larger than the field of view
    motion    two random maps from the field of view into that canvas; together they make the true flow
    painting  what two scanners, alike or not, see of the labels
    pairs     one pair, from a seed and a number

Source of the idea: Hoffmann et al., "SynthMorph: Learning Contrast-Invariant Registration Without Acquired Images",
TMI 2022.
"""

from regstudio.training.synthesis.pairs import SyntheticPair, draw_size, synthesise

__all__ = ["SyntheticPair", "draw_size", "synthesise"]
