"""From files to pictures, from pictures to pairs, from pairs to batches."""
