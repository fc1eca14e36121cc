"""Opens RegStudio in the browser, as `regstudio studio` does: python launch.py --help says how."""

from regstudio.__main__ import studio

# Processes that the page starts, to load images or to run other tools, import this file as well.
if __name__ == "__main__":
    studio()
