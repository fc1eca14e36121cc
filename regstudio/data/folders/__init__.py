"""Which files belong together: the layout, pairs, sets, and what is left out."""
