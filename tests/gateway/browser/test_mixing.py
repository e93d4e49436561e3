"""Faces are mixed on the page: with another photo, and with faces of an age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from dorian_client import Client
from tests.e2e.server_process import ServerProcess
from tests.gateway.browser_page import (
    ASTRONAUT,
    HOPPER,
    MILLISECONDS,
    canvas_pixels,
    jpeg,
    pixels_of,
    set_slider,
    upload,
)

DIVIDER = "Divider between before, on its left, and after"


def wait_until_drawn(page: Page) -> None:
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)


def test_a_face_is_mixed_with_that_of_another_photo(page: Page, server: ServerProcess, tmp_path: Path) -> None:
    upload(page, ASTRONAUT, "astronaut.jpg")
    page.get_by_text("Mix with another face", exact=True).click()
    expect(page.locator("#scores")).to_contain_text("Choose the other photo.")
    expect(page.get_by_role("button", name="Download")).to_be_disabled()
    expect(page.get_by_role("slider", name="Age", exact=True)).to_be_hidden()
    page.get_by_label("The other photo").set_input_files(str(HOPPER))
    wait_until_drawn(page)
    with Client(server.address, timeout=60) as client:
        mixed = client.mix(ASTRONAUT, HOPPER, format="jpeg")
        half = client.mix(ASTRONAUT, HOPPER, preset="top", strength=0.5, quality=95)
    assert mixed.faces[0].identity_similarity is not None
    expect(page.locator("#scores")).to_contain_text(f"{mixed.faces[0].identity_similarity:.2f}")
    expect(
        page.get_by_role("img", name="The photo mixed with another face, a picture that a network made")
    ).to_be_visible()
    set_slider(page, DIVIDER, 0)
    assert np.abs(canvas_pixels(page) - pixels_of(mixed.picture.data)).mean() < 1
    with page.expect_response("**/v1/mix"):
        page.get_by_label("Levels").select_option("top")
    wait_until_drawn(page)  # else its answer would be taken for that of the slider, whose later one ends a download
    with page.expect_response("**/v1/mix"):
        set_slider(page, "Strength of the change", 50)
    wait_until_drawn(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "astronaut-mixed-with-grace_hopper.jpg"
    download.value.save_as(tmp_path / "saved.jpg")
    assert (tmp_path / "saved.jpg").read_bytes() == half.picture.data
    page.get_by_text("Another age", exact=True).click()
    wait_until_drawn(page)
    expect(page.get_by_role("slider", name="Age", exact=True)).to_be_visible()


def test_a_face_is_mixed_with_faces_of_an_age_by_keyboard_on_a_phone(open_page: Callable[..., Page]) -> None:
    page = open_page(viewport={"width": 320, "height": 700}, is_mobile=True, has_touch=True, device_scale_factor=2)
    upload(page, ASTRONAUT)
    page.locator("#mode-age").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "mix-photo-source"
    page.keyboard.press("ArrowRight")
    wait_until_drawn(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "mix-age"
    page.keyboard.press("Control+A")
    page.keyboard.type("20")
    with page.expect_response("**/v1/mix") as answer:
        page.keyboard.press("Enter")
    wait_until_drawn(page)
    assert answer.value.json()["faces"][0]["target"] == 20
    assert all(reference["age_low"] is not None for reference in answer.value.json()["references"])
    expect(page.get_by_role("img", name="The photo mixed with faces of 20 years")).to_be_visible()
    page.get_by_label("Levels").select_option("two-styles")
    wait_until_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for control in page.locator("#mode-block .pill, #mix-block :is(.pill, select, input[type=number])").all():
        box = control.bounding_box()
        if box is not None:
            assert box["height"] >= 40
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 320


def test_what_is_wrong_with_the_other_photo_is_told(page: Page) -> None:
    upload(page, ASTRONAUT)
    page.get_by_text("Mix with another face", exact=True).click()
    other = page.get_by_label("The other photo")
    other.set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"})
    expect(page.get_by_role("alert")).to_contain_text("not a photo that can be opened")
    grey = jpeg(Image.new("RGB", (300, 400), (120, 120, 120)))
    other.set_input_files({"name": "b.jpg", "mimeType": "image/jpeg", "buffer": grey})
    expect(page.get_by_role("alert")).to_contain_text("There is no face in the other photo", timeout=MILLISECONDS)
    expect(page.get_by_role("button", name="Download")).to_be_disabled()
    expect(page.get_by_role("heading", name="Your photo")).to_be_attached()
    other.set_input_files(str(HOPPER))
    wait_until_drawn(page)
    expect(page.get_by_role("alert")).to_be_hidden()
