"""Opens RegStudio in the browser, as `regstudio studio` does: python launch.py --help says how."""

from regstudio.__main__ import studio

studio()
