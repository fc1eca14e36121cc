"""The report of an evaluation: it sees inference (numbers) and viewer (pictures), and neither sees it."""
