"""The Viewer: find checkpoints, methods and cases, register them, and draw the results for the canvas."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, build_config, read_config
from regstudio.data.folders.label_names import find_label_names
from regstudio.data.folders.layout import Case, DataIndex, Layout, index_folder
from regstudio.data.landmarks.files import find_landmarks
from regstudio.data.pairs.pair import Pair
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.formats import extension, stem
from regstudio.data.pictures.planes import NIFTI
from regstudio.data.problems import FileError
from regstudio.drawing.thumbnails import aspect_of
from regstudio.errors import DataError, RunError
from regstudio.methods import NAMES, TITLES, installed
from regstudio.methods.method import Method, axes_of
from regstudio.methods.named import named_method
from regstudio.methods.network import NetworkMethod, load_method
from regstudio.methods.starting import registered_from
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.runs.run import Run
from regstudio.studio.applied import AppliedFolder, applied_names, open_applied
from regstudio.studio.caches import LRUCache
from regstudio.studio.full_resolution import FullResolutions
from regstudio.studio.hand_start import NO_START, HandStart, read_start_file, start_path
from regstudio.studio.page_words import NO_TRAINING
from regstudio.studio.studio import Studio
from regstudio.studio.view import ChosenCase, Registrar, View, drawing_key
from regstudio.training.setup import pair_reader
from regstudio.transforms.registration import Registration

Data = TrainConfig | AppliedFolder  # where cases lie

APPLIED_RUN = "applied: "  # stands before the names of folders of results in the list of runs
MAX_CACHED_METHODS = 6
MAX_CACHED_BYTES = 48 * 2**20  # of drawings
MAX_PIXELS = 2048 * 2048  # of an image to register while someone waits
MAX_LISTED_CASES = 500  # of each set: a list to choose from, not a file manager


class Viewer:
    """What the Viewer tab can open in one studio: runs, checkpoints, cases, and the user's own images."""

    def __init__(self, studio: Studio, *, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._studio = studio
        self.full_resolutions = FullResolutions()
        self._methods: LRUCache[Method] = LRUCache(MAX_CACHED_METHODS)
        self._drawings: LRUCache[dict[str, Any]] = LRUCache(max_bytes, _bytes)

    def runs(self) -> list[str]:
        """Return the names of the runs that have a checkpoint, the folders of results, and NO_TRAINING."""
        runs = [run.path.name for run in self._studio.run_folders() if _best_and_last(run)]
        applied = [APPLIED_RUN + name for name in applied_names(self._studio)]
        return runs if self._studio.read_only else [*runs, *applied, NO_TRAINING]

    def checkpoints(self, run: str) -> list[str]:
        """Return the checkpoints of a run as "best", "last" and the numbers of epochs, the newest first.

        Those of NO_TRAINING are the names of the methods that are there.
        """
        if run == NO_TRAINING:
            return [name for name in NAMES if installed(name)]
        if folder := self._applied(run):
            return [folder.record.method]
        opened = self._studio.run(run)
        epochs = sorted((int(path.stem.removeprefix("epoch_")) for path in _epoch_files(opened)), reverse=True)
        return [*_best_and_last(opened), *map(str, epochs)]

    def others(self, run: str) -> list[str]:
        """Return the checkpoints to compare with, as RUN/CHECKPOINT: this run's, then the other runs'."""
        own = [] if self._applied(run) else [f"{run}/{name}" for name in self.checkpoints(run)]
        rest = [
            f"{name}/{checkpoint}"
            for name in self.runs()
            if name != run and not name.startswith(APPLIED_RUN)
            for checkpoint in (
                self.checkpoints(name) if name == NO_TRAINING else _best_and_last(self._studio.run(name))
            )
        ]
        return own + rest

    def registrar(self, run: str, checkpoint: str | None = None) -> Registrar:
        """Return a run's checkpoint by its name in `checkpoints`; without a name the best, else the last."""
        if run == NO_TRAINING and not self._studio.read_only:
            name = checkpoint or NAMES[0]
            if name not in NAMES:
                raise RunError(f"There is no method {name!r}; there are {', '.join(NAMES)}.")
            return Registrar(title=TITLES[name], name=name)
        if folder := self._applied(run):
            return replace(self.other(checkpoint or folder.record.method), refine=folder.record.refine)
        opened = self._studio.run(run)
        named = _best_and_last(opened)
        if not checkpoint and not named:
            raise RunError(f"{run}: has no checkpoint yet. The first one comes at the end of the first epoch.")
        name = checkpoint or next(iter(named))
        paths = {**named, **{str(int(path.stem.removeprefix("epoch_"))): path for path in _epoch_files(opened)}}
        if name not in paths:
            raise RunError(f"{run}: there is no checkpoint {name!r}; there are {', '.join(paths)}.")
        title = f"epoch {name}" if name.isdecimal() else name
        return Registrar(title=f"{run}, {title}", path=paths[name])

    def registrar_at(self, path: str) -> Registrar:
        """Return the checkpoint in a file below one of the studio's roots."""
        allowed = self._studio.allowed(path)
        return Registrar(title=allowed.name, path=allowed)

    def other(self, name: str) -> Registrar:
        """Return the checkpoint that `others` lists under `name`."""
        run, _, checkpoint = name.rpartition("/")
        return self.registrar(run, checkpoint)

    def cases(self, config: Data) -> list[str]:
        """Return the cases of a configuration's data, as validation/ID and training/ID, or of a folder of results."""
        if isinstance(config, AppliedFolder):
            return [case.id for case in config.cases(self._studio)][:MAX_LISTED_CASES]
        index = self._index(config)
        sets = _by_set(index)
        return [f"{name}/{case.id}" for name, cases in sets.items() for case in cases[:MAX_LISTED_CASES]]

    def config(self, run: str | None, registrar: Registrar | None = None, tab: str | None = None) -> Data:
        """Return what says where the cases lie: the run's configuration, the checkpoint's or that of the `tab`."""
        if run and (folder := self._applied(run)):
            return folder
        if run and run != NO_TRAINING:
            return self._studio.run(run).config()
        record = load_checkpoint(registrar.path).config if registrar and registrar.path else {}
        return read_config(record) if record else self._studio.workspace(tab).config

    def chosen(self, config: Data, name: str | None = None) -> ChosenCase:
        """Return a case by its name in `cases`, with its fixed image; the first if none is named."""
        if isinstance(config, AppliedFolder):
            return self._applied_case(config, name)
        index = self._index(config)
        wanted_set, _, wanted = (name or "").partition("/")
        cases = _by_set(index).get(wanted_set, ())
        found = next((case for case in cases if case.id == wanted), None)
        if not name:
            found = next(iter(index.shown), None)
        fixed = index.atlas if found is None else found.fixed or index.atlas
        if found is None or fixed is None:
            reasons = "\n".join(map(str, index.errors)) or f"{name}: there is no such case in {index.root}."
            raise DataError(reasons)
        points = (one.points or find_landmarks(one.image) for one in (fixed, found))
        names = find_label_names(config.layout.data_base_dir)
        laid = start_path(found.image)
        kept = laid if laid.is_file() else None
        for path in (fixed.image, fixed.label, fixed.mask, found.image, found.label, found.mask, *points, names, kept):
            if path is not None:
                self._check(path, config)
        start = NO_START if kept is None else read_start_file(kept)
        return ChosenCase(case=found, reader=_uncached_reader(config, fixed), label_file=names, start=start)

    def own_images(
        self, config: Data, files: dict[str, Path | None], *, resize: bool = False, tab: str | None = None
    ) -> ChosenCase:
        """Return a case of the user's own `files`: moving, and if given fixed, and of each the label and the mask.

        Without a fixed image the atlas of the configuration's data is taken. `resize` resamples to the fixed size.
        """
        moving, fixed = files.get("moving"), files.get("fixed")
        if moving is None:
            raise DataError("There is no moving image. Drop one in; the atlas is the fixed image if you give no other.")
        applied = config if isinstance(config, AppliedFolder) else None
        config = self._studio.workspace(tab).config if isinstance(config, AppliedFolder) else config
        atlas = applied.fixed if applied else self._index(config).atlas if fixed is None else None
        target = atlas if fixed is None else _own_case(files, "fixed", fixed)
        if target is None:
            raise DataError("There is no fixed image, and no atlas to take in its place. Drop one in.")
        case = _own_case(files, "moving", moving)
        return ChosenCase(case=case, reader=_uncached_reader(config, target, resize_to_atlas=resize))

    def view(self, chosen: ChosenCase, registrars: Sequence[Registrar], refine: int = 0) -> View:
        """Register the case with each; networks of checkpoints then spend `refine` steps on the pair itself."""
        methods = [self._method(registrar, refine) for registrar in registrars]
        rules = {axes_of(method) for method in methods}
        if len(rules) > 1 and any(extension(case.image) in NIFTI for case in (chosen.reader.fixed, chosen.case)):
            what = "is seen in two orders of axes by networks of version 0.1 and of this one"
            raise FileError(chosen.case.image, what, "Look at one after the other.")
        pair = chosen.reader.read_by(rules.pop())(chosen.case)
        for case, image in ((chosen.reader.fixed, pair.fixed), (chosen.case, pair.moving)):
            if image.size > MAX_PIXELS:
                what = f"has {image.shape[0]} x {image.shape[1]} pixels, too many to register while you wait"
                raise FileError(case.image, what, "Use: regstudio register.")
        found = [
            _registered(registrar.title, method, pair, chosen.start)
            for registrar, method in zip(registrars, methods, strict=True)
        ]
        return View(chosen=chosen, registrations=tuple(found))

    def drawing(self, chosen: ChosenCase, registrars: Sequence[Registrar], refine: int = 0) -> dict[str, Any]:
        """Return the view of the case as the canvas draws it; one that was drawn before, or prefetched, at once."""
        key = drawing_key(chosen, registrars, refine)
        make = lambda: self.payload(self.view(chosen, registrars, refine))  # noqa: E731
        drawing = self._drawings.get(key, make)
        if self.full_resolutions.holds(drawing["detail"]):
            return drawing
        self._drawings.forget(key)
        return self._drawings.get(key, make)

    def payload(self, view: View) -> dict[str, Any]:
        """Return what the canvas draws; `detail` is by what it asks for more pixels, None where it has all of them."""
        return view.payload() | {"detail": self.full_resolutions.keep(view)}

    def _method(self, registrar: Registrar, refine: int) -> Method:
        def make() -> Method:
            return load_method(registrar.path) if registrar.path else named_method(registrar.name)

        method = self._methods.get(registrar.key, make)
        return replace(method, refine=refine or registrar.refine) if isinstance(method, NetworkMethod) else method

    def _applied(self, run: str) -> AppliedFolder | None:
        """Return the folder of results that the list of runs names; None where it names none."""
        if self._studio.read_only or not run.startswith(APPLIED_RUN):
            return None
        return open_applied(self._studio, run.removeprefix(APPLIED_RUN))

    def _applied_case(self, folder: AppliedFolder, name: str | None) -> ChosenCase:
        cases = folder.cases(self._studio)
        case = next((case for case in cases if case.id == name), None) if name else cases[0]
        if case is None:
            raise DataError(f"{name}: there is no such image in {folder.record.moving}.")
        registrar = self.other(folder.record.method)
        own = load_checkpoint(registrar.path).reading if registrar.path else {}
        names = find_label_names(*folder.fixed.image.parents[:2])
        names = names if names is not None and self._studio.is_inside(names) else None
        return ChosenCase(case=case, reader=_uncached_reader(build_config(own), folder.fixed), label_file=names)

    def _index(self, config: TrainConfig) -> DataIndex:
        self._check(config.layout.data_base_dir, config)
        return index_folder(Layout(**config.layout.model_dump()))

    def _check(self, path: Path, config: TrainConfig) -> None:
        """Refuse a path that links out of the roots or, in a read-only studio, out of the shown run's data."""
        if not self._studio.read_only:
            self._studio.allowed(str(path))
        elif not path.resolve().is_relative_to(config.layout.data_base_dir.resolve()):
            raise DataError(f"{path.name}: lies outside the run's data, and is not shown.")


def _own_case(files: Mapping[str, Path | None], side: str, image: Path) -> Case:
    return Case(id=stem(image), image=image, label=files.get(f"{side}_label"), mask=files.get(f"{side}_mask"))


def _registered(title: str, method: Method, pair: Pair, start: HandStart) -> tuple[str, Registration]:
    if start.is_identity:
        return title, Registration(pair=pair, transform=method(pair))
    matrix = start.matrix(pair.fixed.shape, aspect_of(pair.spacing))
    return f"{title}, laid by hand", Registration(pair=pair, transform=registered_from(method, pair, matrix))


def _by_set(index: DataIndex) -> dict[str, tuple[Case, ...]]:
    return {"validation": index.validation, "training": index.shown[len(index.validation) :]}


def _bytes(value: Any) -> int:
    """Return what a drawing takes: its texts, which hold the pictures and planes."""
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return len(value) if isinstance(value, str) else sum(map(_bytes, value)) if isinstance(value, list) else 8


def _uncached_reader(config: TrainConfig, fixed: Case, **reading: Any) -> PairReader:
    # A picture is read when it is looked at: one that has changed since is seen as it is.
    section = config.reading.model_copy(update={"cache_gb": 0.0, "disk_cache_gb": 0.0, **reading})
    return pair_reader(section, fixed, with_points=True)


def _best_and_last(run: Run) -> dict[str, Path]:
    paths = {"best": run.best_path, "last": run.last_path}
    return {name: path for name, path in paths.items() if run.holds(path)}


def _epoch_files(run: Run) -> list[Path]:
    first = run.epoch_path(0)
    numbered = (path for path in first.parent.glob("epoch_*.pt") if path.stem.removeprefix("epoch_").isdecimal())
    return [path for path in numbered if run.holds(path)]
