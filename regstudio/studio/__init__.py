"""What the page does, without gradio: the one training, the runs, the viewer, uploads, sharing."""
