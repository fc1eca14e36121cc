"""CorrMLP and VoxelMorph, warping, checkpoints; ops.py is the only door to the compiled kernels."""
