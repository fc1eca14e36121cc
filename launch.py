"""Opens RegStudio. The browser page is not there yet: this says what to run instead."""

import click

click.echo("""RegStudio runs from the terminal until its browser page is there:

  regstudio check                             what is in ./data (a demo data set), and what is wrong with it
  regstudio train --epochs 10 --lr 1e-3       train on it, in about a minute on two cores
  regstudio --help                            everything else""")
