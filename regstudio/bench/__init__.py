"""Times of training steps, registrations and reading."""
