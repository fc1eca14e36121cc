"""The files that RegStudio brings along: scripts and styles of the page, the handbook."""
