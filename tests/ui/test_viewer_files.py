"""The Viewer tab in a browser: own images, checkpoints and downloads."""

import re
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from regstudio.data.loading.working_grid import LARGEST_OWN
from regstudio.data.pictures.writing import write_image
from tests.browser import Served
from tests.ui.acting import CANVAS, VIEWER, choose, fill, register_own, unfold

pytestmark = pytest.mark.browser
# Whether most pixels of the canvas's middle differ from the next one: those of the grid are many of the screen's wide.
FINE = f"""() => {{
  const canvas = document.querySelector("{CANVAS}"), side = 60;
  const {{ data }} = canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, side, side);
  let found = 0;
  for (let i = 4; i < data.length; i += 4) found += Math.abs(data[i] - data[i - 4]) > 5;
  return found > side * side / 2;
}}"""


def clear(page: Any) -> None:
    """Empty the fields of own images."""
    for role in ("fixed", "moving", "fixed-label", "moving-label"):
        button = page.locator(f"#viewer-{role}").get_by_label("Clear")
        if button.count():
            button.last.click()
            page.locator(f"#viewer-{role} input[type=file]").wait_for(state="attached")


def drop(page: Any, own: dict[str, Path]) -> None:
    """Put files into the fields of own images, by their roles."""
    for role, path in own.items():
        page.set_input_files(f"#viewer-{role} input[type=file]", path)
        page.locator(f"#viewer-{role}").get_by_text(path.suffix).first.wait_for()


def test_own_images_are_registered_on_the_spot(opened: Any, demo: Path, tmp_path: Path) -> None:
    unfold(opened)
    own = {
        "fixed": demo / "fixed" / "atlas.png",
        "moving": next((demo / "validation_moving").glob("phantom_05.*")),
        "fixed-label": demo / "fixed_seg" / "atlas_seg.png",
        "moving-label": next((demo / "validation_moving_seg").glob("phantom_05*")),
    }
    drop(opened, own)
    register_own(opened)
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === 'own images'")
    assert "Dice, mean" in opened.inner_text(f"{VIEWER} .numbers")
    moving = own["moving"].name
    assert opened.input_value("#viewer-case input") == f"own images: {moving} on atlas.png"
    for name in ("atlas.png (fixed)", f"{moving} (moving, before)", f"{moving} (warped, after)"):
        assert name in opened.get_attribute(CANVAS, "aria-label")
    assert opened.inner_text(f"{VIEWER} .fixed-name") == "atlas.png"
    choose(opened, "checkpoint", "epoch 1")  # own images stay
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, epoch 1'")
    assert opened.inner_text(f"{VIEWER} .place") == "own images"
    choose(opened, "checkpoint", "best")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, best'")
    with opened.expect_download() as download:
        opened.click("#viewer-download")
    assert download.value.suggested_filename == "phantom_05.zip"
    opened.focus(CANVAS)
    opened.keyboard.press("ArrowRight")  # own images are in no list: back to the case that is chosen
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === '1 of 6'")


def test_own_images_that_cannot_be_registered_are_named_as_they_are(opened: Any, tmp_path: Path) -> None:
    unfold(opened)
    clear(opened)
    write_image(tmp_path / "too small.png", np.arange(30 * 64).reshape(30, 64) % 251)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name, words in (("too small.png", "less than 32 is too few"), ("broken.png", "broken.png: ")):
        opened.set_input_files("#viewer-moving input[type=file]", tmp_path / name)
        opened.locator("#viewer-moving").get_by_text(".png").first.wait_for()
        opened.click("#viewer-register")
        message = opened.locator(".toast-body").get_by_text(words)
        message.wait_for()
        said = opened.inner_text(".toast-body")
        assert name in said
        assert "/" not in said.replace("-", "/").split(name)[0]
        assert "--" not in said
        opened.locator(".toast-body").get_by_role("button").last.click()
        clear(opened)


def test_pixels_have_the_shape_that_they_have_on_the_body(opened: Any, tmp_path: Path) -> None:
    unfold(opened)
    clear(opened)
    picture = np.add.outer(np.arange(32) ** 2 % 97, np.arange(64)) % 251
    for role in ("fixed", "moving"):
        image = sitk.GetImageFromArray(picture.astype(np.uint8))
        image.SetSpacing((1.0, 2.0))  # x, y: rows are twice as far apart as columns
        sitk.WriteImage(image, tmp_path / f"{role}.nrrd")
        opened.set_input_files(f"#viewer-{role} input[type=file]", tmp_path / f"{role}.nrrd")
        opened.locator(f"#viewer-{role}").get_by_text(".nrrd").first.wait_for()
    register_own(opened)
    opened.wait_for_function(f"document.querySelector('{VIEWER} .name').textContent === 'moving'")
    opened.wait_for_timeout(200)  # for the canvas to take its height
    opened.locator(CANVAS).scroll_into_view_if_needed()
    box = opened.locator(CANVAS).bounding_box()
    width = (box["width"] - 16) / 3
    assert box["height"] == pytest.approx(width + 28, abs=2)  # 32 rows of 2 mm and 64 columns of 1 mm: a square
    for part, place in ((0.02, "row 0, column 1"), (0.98, "row 31, column 62")):
        opened.mouse.move(box["x"] + part * width, box["y"] + 20 + part * width)
        assert opened.inner_text(f"{VIEWER} .readout").startswith(place)
    unfold(opened)
    clear(opened)


def test_a_checkpoint_file_is_opened_only_below_the_roots(opened: Any, viewer_server: Served) -> None:
    unfold(opened)
    box = opened.locator("#viewer-path textarea")
    fill(opened, "#viewer-path textarea", "/etc/passwd")
    box.press("Enter")
    opened.get_by_text("may not be opened from the page").wait_for()
    fill(opened, "#viewer-path textarea", str(viewer_server.studio.run("first").best_path))
    box.press("Enter")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'best_model.pt'")
    fill(opened, "#viewer-path textarea", "")
    box.press("Enter")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent === 'first, best'")


def test_what_is_shown_can_be_kept_as_a_picture_and_all_of_it_as_a_zip(opened: Any, tmp_path: Path) -> None:
    with opened.expect_download() as download:
        opened.click(f"{VIEWER} .save")
    download.value.save_as(tmp_path / "case.png")
    assert download.value.suggested_filename == "phantom_05.png"
    with Image.open(tmp_path / "case.png") as picture:
        assert picture.width == 2126  # 180 mm
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        picture.load()  # its parts have the sums that they should
    with opened.expect_download() as download:
        opened.click(f"{VIEWER} .save-svg")
    download.value.save_as(tmp_path / "case.svg")
    drawing = ElementTree.parse(tmp_path / "case.svg").getroot()
    assert drawing.get("width") == "180mm"
    words = [part.text or "" for part in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"atlas (fixed)", "label 1"} <= set(words)
    assert any(re.fullmatch(r"[125]0* pixels", word) for word in words)
    outlines = list(drawing.iter("{http://www.w3.org/2000/svg}path"))
    assert {"#e69f00", "#56b4e9"} <= {outline.get("stroke") for outline in outlines}
    with opened.expect_download() as download:
        opened.click("#viewer-download")
    download.value.save_as(tmp_path / "case.zip")
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        stems = {name.removeprefix("phantom_05_").partition(".")[0] for name in archive.namelist()}
    assert {"figure", "warped", "flow"} <= stems


def test_keys_typed_elsewhere_are_no_orders(opened: Any) -> None:
    unfold(opened)
    opened.focus("#viewer-path textarea")
    opened.keyboard.press("6")
    assert opened.get_attribute(f"{VIEWER} [aria-pressed=true].mode", "data-mode") == "1"
    fill(opened, "#viewer-path textarea", "")


def test_a_second_checkpoint_is_shown_beside_the_first(opened: Any) -> None:
    choose(opened, "compare", "first/1")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .networks').textContent.includes('first, epoch 1')")
    assert opened.get_attribute(CANVAS, "aria-label").count("warped (after)") == 2
    heads = opened.locator(f"{VIEWER} .numbers th").all_inner_texts()
    assert heads == ["before", "first, best", "first, epoch 1"]
    choose(opened, "compare", "nothing")
    opened.wait_for_function(f"!document.querySelector('{VIEWER} .networks').textContent.includes('epoch 1')")


def test_differences_are_those_of_the_files_pixels_where_the_grid_has_fewer(opened: Any, tmp_path: Path) -> None:
    stripes = np.zeros((64, LARGEST_OWN + 2), np.uint8)
    stripes[:, ::2] = 255  # of which a coarser grid makes grey
    for name, image in (("fixed", stripes), ("moving", 255 - stripes)):
        write_image(tmp_path / f"{name}.png", image)
    choose(opened, "run", "no training")
    choose(opened, "checkpoint", "not registered")
    unfold(opened)
    clear(opened)
    drop(opened, {name: tmp_path / f"{name}.png" for name in ("fixed", "moving")})
    register_own(opened)
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === 'own images'")
    opened.focus(CANVAS)
    opened.keyboard.press("5")
    opened.hover(CANVAS)
    opened.mouse.wheel(0, -600)
    for mode in "56":
        opened.keyboard.press(mode)
        opened.wait_for_function(FINE)
    choose(opened, "run", "first")
    opened.wait_for_function(f"document.querySelector('{VIEWER} .place').textContent === '1 of 6'")
