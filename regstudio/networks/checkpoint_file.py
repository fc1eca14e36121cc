"""What a .pt file may hold: an archive no larger than it says, builtins and tensors alone, and their checksum."""

import hashlib
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regstudio.schema import SchemaError, open_file, shortened

MAX_VALUES = 500_000  # a network of 400 layers, with its optimizer, has 3,000
MAX_DEPTH = 12
MAX_PARTS = 20_000  # of an archive, a part for each tensor
MAX_PICKLE_BYTES = 2**25  # of all but the tensors
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_DTYPES = (*_INTEGERS, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_content(path: Path) -> dict[str, Any]:
    """Return the dict of plain values and tensors in a .pt file, on the CPU; raises SchemaError, saying what is wrong.

    Only builtins and tensors are read (weights_only), which together take no more memory than the file has bytes.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes from anywhere make the reader fail in any way
        raise SchemaError((str(error) or type(error).__name__).splitlines()[0][:300]) from None
    if not isinstance(content, dict):
        raise SchemaError(f"it holds a {type(content).__name__}, not a checkpoint or a state_dict")
    return content


def digest(content: object, max_bytes: float = math.inf) -> str:
    """Return a SHA-256 of all values of `content`, its tensors included, whatever their device and memory layout.

    Raises SchemaError for what no checkpoint holds: other types, deep nesting, tensors of more than `max_bytes`.
    """
    walk = _Walk(max_bytes)
    walk.add(content, 0)
    return walk.hash.hexdigest()


def whole_archive(path: Path) -> bool:
    """Whether all parts of the file have the checksums that the archive gives for them."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise SchemaError for weights that are not finite numbers; their sizes must be known to be honest."""
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise SchemaError(f"its weights {shortened(name)} are {tensor.dtype}, not floating-point numbers")
        if not torch.isfinite(tensor.float()).all():
            raise SchemaError(f"its weights {shortened(name)} are not finite numbers, and register nothing")


def plain_weights(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the weights of a state_dict, however it was saved: their names begin with the network's own parts.

    They may lie under a key such as "state_dict" or "model", and wrappers (DataParallel, torch.compile, Lightning) put
    prefixes before their names. Raises SchemaError for anything else.
    """
    nested = [value for value in content.values() if isinstance(value, dict) and _is_state_dict(value)]
    weights = dict(content) if _is_state_dict(content) else dict(nested[0]) if len(nested) == 1 else {}
    if not weights:
        raise SchemaError("it is neither a RegStudio checkpoint nor a plain state_dict of tensors")
    prefix = next((name[: name.rindex(part)] for name in weights for part in _FIRST_PARTS if part in name), "")
    if prefix:
        weights.pop("n_averaged", None)  # of torch's AveragedModel
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


_FIRST_PARTS = ("encoder.levels.", "unet.net.")


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())


def _check_archive(path: Path) -> None:
    """Raise SchemaError unless the file is an archive whose parts lie in it as they are, each once."""
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            entries = zipfile.ZipFile(stream).infolist()
        except Exception:  # damaged archives raise almost anything
            stream.seek(0)
            start = stream.read(len(_OLD_FORMAT))
            if start == _OLD_FORMAT:
                raise SchemaError("it has the format of torch before 1.6: load it and save it again") from None
            raise SchemaError("it is cut off" if start.startswith(b"PK") else "it is no .pt file") from None
    if len(entries) > MAX_PARTS:
        raise SchemaError(f"it holds {len(entries):,} parts, more than any network")
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    pickles = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if packed or sum(entry.file_size for entry in entries) > size or pickles > MAX_PICKLE_BYTES:
        raise SchemaError("it is damaged: its parts are larger than itself")


class _Walk:
    """Visits all values, and hashes and bounds them."""

    def __init__(self, max_bytes: float) -> None:
        self.hash, self._values, self._bytes_left = hashlib.sha256(), 0, max_bytes

    def add(self, value: object, depth: int) -> None:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise SchemaError("its values are nested too deeply, or are too many")
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, dict):
            self._mark("dict", len(value))
            for key, item in value.items():
                self.add(key, depth + 1)
                self.add(item, depth + 1)
        elif isinstance(value, list | tuple):
            self._mark("list" if isinstance(value, list) else "tuple", len(value))
            for item in value:
                self.add(item, depth + 1)
        else:
            self._add_scalar(value)

    def _add_scalar(self, value: object) -> None:
        if isinstance(value, float):
            self._mark("float", value.hex())
        elif value is None or isinstance(value, bool):
            self._mark("constant", value)
        elif isinstance(value, int) and value.bit_length() <= 64:
            self._mark("int", value)
        elif isinstance(value, str):
            try:
                text = value.encode()
            except UnicodeEncodeError:
                raise SchemaError("it holds text that is not Unicode") from None
            self._mark("text", len(text))
            self.hash.update(text)
        else:
            raise SchemaError(f"it holds {shortened(value)}, a {type(value).__name__}")

    def _add_tensor(self, tensor: Tensor) -> None:
        ordinary = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_meta
        if not ordinary or tensor.dtype not in _DTYPES:
            raise SchemaError(f"it holds a tensor of {tensor.dtype} that is not of an ordinary kind")
        self._bytes_left -= tensor.numel() * tensor.element_size()
        if self._bytes_left < 0:
            raise SchemaError("it is damaged: its tensors are larger than itself")
        self._mark("tensor", f"{tensor.dtype}{tuple(tensor.shape)}")
        self.hash.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def _mark(self, kind: str, value: object) -> None:
        self.hash.update(f"{kind} {value};".encode())
