"""`regstudio export-onnx` and `export-weights`: a trained network to hand on."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path)


@click.command()
@click.option("--checkpoint", type=FILE, required=True, help="a .pt file, such as RUN/checkpoints/best_model.pt")
@click.option("--out", type=FILE, required=True, help="the .onnx file to write")
@click.option("--fixed", type=FILE, help="image to check the exported network on, with --moving")
@click.option("--moving", type=FILE, help="its partner, of the same size")
def export_onnx(checkpoint: Path, out: Path, fixed: Path | None, moving: Path | None) -> None:
    """Write a network as ONNX, for images of any size, and check it against the original.

    Needs the packages of regstudio[onnx]. The file's metadata state how images go in and what the flow means.
    """
    from regstudio.data.loading.loaders import ImageLoader
    from regstudio.methods.onnx_export import export_onnx as write
    from regstudio.networks.checkpoint import load_checkpoint

    if (fixed is None) != (moving is None):
        raise click.UsageError("--fixed and --moving are given together.")
    pairs = []
    if fixed is not None and moving is not None:
        loaded = load_checkpoint(checkpoint)
        load = ImageLoader(axes=loaded.axes, normalise=loaded.normalise).facing_as(fixed)  # as `register` reads them
        pairs = [(load(fixed)[0], load(moving)[0])]
        if pairs[0][0].shape != pairs[0][1].shape:
            raise click.UsageError("--fixed and --moving must have one size.")
    for size, difference in write(checkpoint, out, pairs=pairs).items():
        click.echo(f"{size}: the flow differs from the original's by at most {difference:.1e} pixels.")
    click.echo(f"Wrote {out}, {out.stat().st_size / 1e6:.1f} MB.")


@click.command()
@click.option("--checkpoint", type=FILE, required=True, help="a .pt file, such as RUN/checkpoints/best_model.pt")
@click.option("--out", type=FILE, required=True, help="the .pt file to write")
def export_weights(checkpoint: Path, out: Path) -> None:
    """Write what a network needs to register, in half precision: the smallest file to hand on."""
    from regstudio.networks.checkpoint import load_checkpoint, save_weights

    save_weights(out, load_checkpoint(checkpoint))
    click.echo(f"Wrote {out}, {out.stat().st_size / 1e6:.1f} MB.")
