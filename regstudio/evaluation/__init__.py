"""Scores of registrations, statistics over cases, tables."""
