"""A data folder in the documented layout from files as they come: find, pair with labels, cut, choose, write."""
