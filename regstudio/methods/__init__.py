"""Methods of registration, each one call: method(pair) -> Transform."""

from typing import Literal, NamedTuple, get_args


class Tool(NamedTuple):
    """The software behind a baseline: its package on PyPI, and the module that Python imports."""

    package: str
    module: str


# They stand here because the command line offers their names without the seconds that `baselines` takes to import.
BASELINES: dict[str, Tool | None] = {
    "none": None,
    "demons": Tool("SimpleITK", "SimpleITK"),
    "syn": Tool("antspyx", "ants"),
    "elastix": Tool("itk-elastix", "itk"),
}

# What the pair optimiser compares images by; "auto" is chosen for each pair by what its images are.
Similarity = Literal["ncc", "mind", "mi", "global_ncc", "mse"]
SimilarityChoice = Similarity | Literal["auto"]
SIMILARITIES: tuple[str, ...] = ("auto", *get_args(Similarity))

# The methods that need no checkpoint; `named.named_method` makes them.
NAMES = ("general", "general_network", "optimiser", "affine", *BASELINES)
