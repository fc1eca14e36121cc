"""From a picture's path to the array that a network sees: the working grid, normalised, cached."""
