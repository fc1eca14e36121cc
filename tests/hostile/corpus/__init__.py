"""Generators of hostile inputs, one family a file: small, and the same in every run."""
