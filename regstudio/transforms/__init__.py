"""What one does with a transform: resample, move points, write it to files, apply it."""
