"""What `pip install regstudio` brings: a wheel with every package and asset, whose page opens without a checkout."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import torch

from tests.browser import unused_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60
HAS_COMPILER = shutil.which("g++") is not None
ONLY_FOR_GITHUB = {ROOT / "assets" / name for name in ("before_after.png", "gallery")}


def brought_assets() -> list[Path]:
    """The files of assets/ that an installed RegStudio needs: all but the pictures of the README."""
    files = [path for path in (ROOT / "assets").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in files if not ONLY_FOR_GITHUB & {path, *path.parents}]


def packages() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])


def dotted(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)


def test_every_folder_of_code_is_a_package_to_install() -> None:
    assets = {f"regstudio.{dotted(path.parent)}" for path in brought_assets()}
    assert packages() == {dotted(path.parent) for path in (ROOT / "regstudio").rglob("*.py")} | assets


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is built from: setuptools leaves its build folder beside the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("regstudio", "assets"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(out), str(source)]
    if int(version("setuptools").partition(".")[0]) >= 77:  # what pyproject.toml asks for is here: nothing to download
        command.append("--no-build-isolation")
    subprocess.run(command, check=True, env=environment(), timeout=10 * PATIENCE)
    return next(out.glob("regstudio-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that has the wheel; what it depends on is that of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name == "posix")
    programs = folder / ("bin" if os.name == "posix" else "Scripts")
    own = subprocess.check_output(
        [programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    here = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(own.strip()) / "dependencies.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    subprocess.run([*pip, "install", "--no-deps", wheel], check=True, env=environment())
    return programs


def environment() -> dict[str, str]:
    """The variables without those that lead to the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.mark.slow
def test_the_wheel_holds_all_code_and_assets(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "regstudio").rglob("*.py")}
    assets = {f"regstudio/{path.relative_to(ROOT).as_posix()}" for path in brought_assets()}
    built = {name for name in held if re.fullmatch(r"regstudio/networks/kernels/[^/]+\.(so|pyd)", name)}
    assert held == code | assets | built
    assert {Path(name).name.partition(".")[0] for name in built} == ({"avx2", "avx512"} if HAS_COMPILER else set())


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="there is no g++")
def test_the_installed_kernels_are_used(installed: Path) -> None:
    code = "from regstudio.networks.kernels.library import built_for; print(built_for())"
    found = subprocess.check_output([installed / "python", "-W", "error", "-c", code], text=True, env=environment())
    capability = torch.backends.cpu.get_cpu_capability().lower()
    assert found.strip() == (capability if capability in ("avx2", "avx512") else "None")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a process of Windows is not ended by a signal")
def test_the_installed_page_opens_from_an_empty_folder_and_a_signal_ends_it(installed: Path, tmp_path: Path) -> None:
    output, port = tmp_path / "output.txt", unused_port()
    folder = tmp_path / "empty"
    folder.mkdir()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [installed / "regstudio", "studio", "--no-browser", "--port", str(port)],
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
    try:
        give_up = time.monotonic() + PATIENCE
        while "RegStudio: http" not in output.read_text():
            assert process.poll() is None and time.monotonic() < give_up, output.read_text()
            time.sleep(0.05)
        page = httpx.get(f"http://127.0.0.1:{port}/")
        assert page.status_code == 200
        found = re.search(r"/gradio_api/file=([^\"'\\]+plotly-basic\.min\.js)", page.text)
        assert found is not None
        assert Path(found[1]).is_relative_to(installed.parent)
        script = httpx.get(f"http://127.0.0.1:{port}{found[0]}")
        assert script.content == (ROOT / "assets" / "plotly" / "plotly-basic.min.js").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
