"""Opens RegStudio in the browser: python launch.py --help says how."""

from regstudio.ui.launch import main

main()
