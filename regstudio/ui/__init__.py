"""The page: gradio alone, no logic."""
