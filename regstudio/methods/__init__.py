"""Methods of registration, each one call: method(pair) -> Transform."""

from importlib.util import find_spec
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

# The methods that need no checkpoint, with what tables call them; `named.named_method` makes them.
TITLES = {
    "general": "general network + optimiser",
    "general_network": "general network",
    "optimiser": "optimiser",
    "affine": "affine map alone",
    "none": "not registered",
    "demons": "demons",
    "syn": "ANTs SyN",
    "elastix": "elastix",
}
NAMES = tuple(TITLES)


def installed(name: str) -> bool:
    """Whether the packages of one of NAMES are installed; the weights of the general network are another question."""
    tool = BASELINES.get(name)
    return tool is None or find_spec(tool.module) is not None
