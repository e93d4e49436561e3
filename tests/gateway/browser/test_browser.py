"""The page in a real Chromium, before the real server with the embedded bundle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from dorian_client import Client
from tests.e2e.server_process import ServerProcess
from tests.gateway.browser_page import (
    ASTRONAUT,
    MILLISECONDS,
    canvas_pixels,
    jpeg,
    pixels_of,
    set_slider,
    two_people,
    upload,
)


def count_calls(page: Page) -> list[str]:
    """Return a list that grows with the paths of the page's calls."""
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url.rpartition("/")[2]) if "/v1/" in request.url else None)
    return calls


def test_a_photo_is_outlined_and_swept_once(page: Page, server: ServerProcess) -> None:
    calls = count_calls(page)
    upload(page, ASTRONAUT)
    assert calls == ["methods", "detect", "age"]
    with Client(server.address) as client:
        (face,) = client.detect(ASTRONAUT).faces
        lower, upper = (aged.picture for aged in client.age(ASTRONAUT, [64, 72], format="jpeg").photos)
    outline, picture = page.locator(".outline").bounding_box(), page.locator("#picture").bounding_box()
    assert outline is not None
    assert picture is not None
    scale = picture["width"] / 512
    assert outline["x"] - picture["x"] == pytest.approx(face.box.x * scale, abs=1)
    assert outline["height"] == pytest.approx(face.box.height * scale, abs=1)
    set_slider(page, "Divider between before, on its left, and after", 0)
    mixed = (pixels_of(lower.data) + 3 * pixels_of(upper.data)) / 4
    for age, expected in ((64, pixels_of(lower.data)), (70, mixed), (72, pixels_of(upper.data))):
        set_slider(page, "Age", age)
        assert np.abs(canvas_pixels(page) - expected).max() <= 3, age
    assert np.abs(pixels_of(lower.data) - pixels_of(upper.data)).max() > 20  # so that the above tells them apart
    assert calls == ["methods", "detect", "age"]


def test_the_divider_shows_before_and_after(page: Page) -> None:
    upload(page, ASTRONAUT)
    set_slider(page, "Age", 80)
    divider = page.get_by_role("slider", name="Divider between before, on its left, and after")
    divider.fill("0")
    after = canvas_pixels(page)
    divider.fill("100")
    before = canvas_pixels(page)
    assert np.abs(before - pixels_of(ASTRONAUT.read_bytes())).max() <= 2
    divider.focus()
    page.keyboard.press("Home")
    for _ in range(45):
        page.keyboard.press("ArrowRight")
    mixed = canvas_pixels(page)
    edge = round(0.45 * 512)
    assert (mixed[:, : edge - 1] == before[:, : edge - 1]).all()
    assert (mixed[:, edge + 1 :] == after[:, edge + 1 :]).all()
    assert divider.get_attribute("aria-valuetext") == "45 % before, 55 % after"
    line, stage = page.locator(".divider").bounding_box(), page.locator("#picture").bounding_box()
    assert line is not None
    assert stage is not None
    page.mouse.move(line["x"] + 1, stage["y"] + 100)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.8 * stage["width"], stage["y"] + 100, steps=4)
    page.mouse.up()
    assert int(divider.input_value()) == pytest.approx(80, abs=2)


def test_hair_may_be_kept(page: Page, server: ServerProcess) -> None:
    upload(page, ASTRONAUT)
    set_slider(page, "Divider between before, on its left, and after", 0)
    switch = page.get_by_role("checkbox", name="Hair and beard change, too")
    expect(switch).to_be_checked()
    with page.expect_response(re.compile("/v1/age$")):
        switch.uncheck()
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    set_slider(page, "Age", 80)
    with Client(server.address) as client:
        kept, grey = (
            pixels_of(client.age(ASTRONAUT, 80, format="jpeg", keep_hair=keep_hair).photos[0].picture.data)
            for keep_hair in (True, False)
        )
    shown = canvas_pixels(page)
    assert np.abs(shown - kept).max() <= 3
    assert np.abs(shown - grey).max() > 40
    page.get_by_role("combobox", name="Method").select_option("age_cgan")
    expect(switch).to_be_hidden()


def test_only_chosen_faces_change(page: Page) -> None:
    photo = two_people()
    upload(page, photo)
    faces = page.get_by_role("checkbox", name=re.compile(r"^Face \d"))
    expect(faces).to_have_count(2)
    expect(page.locator(".outline.chosen")).to_have_count(2)
    with page.expect_response("**/v1/age"):
        page.locator(".outline").nth(1).click(position={"x": 5, "y": 60})
    expect(faces.nth(1)).not_to_be_checked()
    expect(page.locator(".outline.chosen")).to_have_count(1)
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    set_slider(page, "Divider between before, on its left, and after", 0)
    set_slider(page, "Age", 90)
    change = np.abs(canvas_pixels(page) - pixels_of(photo))
    assert change[100:300, 130:290].mean() > 3
    assert change[:, 540:].mean() < 0.5  # what JPEG changes
    faces.nth(0).focus()
    page.keyboard.press("Space")
    expect(page.locator("#scores")).to_contain_text("Choose a face")
    expect(page.get_by_role("button", name="Download")).to_be_disabled()


def test_scores_are_those_of_the_server(page: Page, server: ServerProcess) -> None:
    upload(page, ASTRONAUT)
    set_slider(page, "Age", 80)
    with Client(server.address) as client:
        report = client.age(ASTRONAUT, 80, format="jpeg").photos[0].faces[0]
    assert report.estimated_age_after is not None
    assert report.identity_similarity is not None
    expect(page.locator("#scores")).to_contain_text(f"{report.estimated_age_after:.0f}")
    expect(page.locator("#scores")).to_contain_text(f"{report.identity_similarity:.2f}")
    expect(page.locator("#scores")).to_contain_text(str(report.match))
    with page.expect_response("**/v1/age"):
        page.get_by_role("spinbutton", name="Age now").fill("38")
        page.keyboard.press("Enter")
    with Client(server.address) as client:
        known = client.age(ASTRONAUT, 80, source=38, format="jpeg").photos[0].faces[0]
    expect(page.locator("#scores")).to_contain_text(f"{known.identity_similarity:.2f}")
    expect(page.locator("#scores")).not_to_contain_text("uncertain")


def test_method_and_strength(page: Page) -> None:
    upload(page, ASTRONAUT)
    set_slider(page, "Divider between before, on its left, and after", 0)
    set_slider(page, "Age", 90)
    whole = np.abs(canvas_pixels(page) - pixels_of(ASTRONAUT.read_bytes())).sum()
    with page.expect_response("**/v1/age"):
        set_slider(page, "Strength of the change", 50)
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    half = np.abs(canvas_pixels(page) - pixels_of(ASTRONAUT.read_bytes())).sum()
    assert 0.3 * whole < half < 0.8 * whole
    page.get_by_label("Method").select_option("cyclegan")
    expect(page.locator("#filters").get_by_role("radio")).to_have_count(2)
    expect(page.get_by_role("slider", name="Age", exact=True)).to_be_hidden()
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    old = canvas_pixels(page)
    page.get_by_text("young", exact=True).click()
    assert np.abs(canvas_pixels(page) - old).max() > 20


def test_the_download_has_the_photos_full_size(page: Page, server: ServerProcess, tmp_path: Path) -> None:
    large = jpeg(Image.open(ASTRONAUT).resize((1800, 1800), Image.Resampling.LANCZOS))
    upload(page, large, "my portrait.jpg")
    assert page.evaluate("document.getElementById('picture').width") == 1280
    set_slider(page, "Age", 62)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "my portrait-at-62.jpg"
    download.value.save_as(tmp_path / "saved.jpg")
    with Client(server.address) as client:
        expected = client.age(large, 62, quality=95).photos[0].picture
    assert (tmp_path / "saved.jpg").read_bytes() == expected.data
    assert (expected.width, expected.height) == (1800, 1800)
    expect(page.locator("#status")).to_have_text("Saved as my portrait-at-62.jpg")


def test_errors_are_told(page: Page) -> None:
    alert = page.get_by_role("alert")
    expect(alert).to_be_hidden()
    page.locator("#file").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"})
    expect(alert).to_contain_text("not a photo that can be opened")
    noise = np.random.default_rng(0).integers(100, 140, (300, 400, 3), dtype=np.uint8)
    page.locator("#file").set_input_files(
        {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": jpeg(Image.fromarray(noise))}
    )
    expect(alert).to_contain_text("There is no face in this photo")
    expect(page.get_by_text("Choose a photo", exact=True)).to_be_visible()
    upload(page, ASTRONAUT)
    expect(alert).to_be_hidden()


def test_a_failed_call_can_be_tried_again(page: Page) -> None:
    def fail(route: Route) -> None:
        problem = '{"status": 503, "detail": "the queue is full", "reason": "QUEUE_FULL", "retry_after": 60}'
        route.fulfill(status=503, content_type="application/problem+json", body=problem)

    page.route("**/v1/age", fail)
    page.locator("#file").set_input_files(str(ASTRONAUT))
    expect(page.get_by_role("alert")).to_contain_text("The queue is full.")
    expect(page.get_by_role("button", name="Download")).to_be_disabled()
    page.unroute("**/v1/age")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_busy_server_is_asked_again_by_itself(page: Page) -> None:
    answers = [503, 503]

    def fail_twice(route: Route) -> None:
        if not answers:
            route.continue_()
            return
        problem = '{"detail": "the queue is full", "reason": "QUEUE_FULL", "retry_after": 0.2}'
        route.fulfill(status=answers.pop(), content_type="application/problem+json", body=problem)

    page.route("**/v1/age", fail_twice)
    upload(page, ASTRONAUT)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert answers == []


def test_a_server_that_wants_a_key_gets_it(page: Page) -> None:
    keys: list[str | None] = []

    def want_key(route: Route) -> None:
        keys.append(route.request.headers.get("authorization"))
        if keys[-1] == "Bearer secret":
            route.continue_(
                headers={name: value for name, value in route.request.headers.items() if name != "authorization"}
            )
        else:
            route.fulfill(status=401, content_type="application/problem+json", body='{"detail": "a key is missing"}')

    page.route("**/v1/**", want_key)
    page.locator("#file").set_input_files(str(ASTRONAUT))
    page.get_by_label("API key").fill("secret")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)
    assert keys[0] is None
    assert set(keys[1:]) == {"Bearer secret"}


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 700}, is_mobile=True, has_touch=True, device_scale_factor=2)
    fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(fits)
    upload(page, two_people())
    assert page.evaluate(fits)
    slider = page.get_by_role("slider", name="Age", exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    assert int(slider.input_value()) == pytest.approx(23, abs=3)
    download = page.get_by_role("button", name="Download").bounding_box()
    assert download is not None
    assert 0 <= download["y"] <= 700 - 44  # it stays in sight
    for control in page.locator("main :is(button.button, input[type=range], select, .face):visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 40
        assert box["x"] >= -22
        assert box["x"] + box["width"] <= width + 22  # the divider's thumb may stand out


def test_the_keyboard_alone_suffices(page: Page) -> None:
    upload(page, two_people())
    assert page.evaluate("document.activeElement.id") == "studio-title"  # a screen reader reads on from here
    seen = []
    for _ in range(13):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.index || ''"))
    assert seen[:5] == ["divider", "mode-age", "age", "0", "1"]
    assert {"method", "strength", "download", "another"} <= set(seen)
    age = page.get_by_role("slider", name="Age", exact=True)
    age.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert age.get_attribute("aria-valuetext") == "89 years"
    expect(page.get_by_role("img", name="The photo at 89 years, a picture that a network made")).to_be_visible()


def test_a_dropped_photo_and_another(page: Page) -> None:
    page.evaluate(
        """async () => {
            const data = new DataTransfer();
            const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
            const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
            data.items.add(new File([blob], 'dropped.png', { type: 'image/png' }));
            window.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
        }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("There is no face")
    upload(page, ASTRONAUT)
    page.get_by_role("button", name="Another photo").click()
    expect(page.get_by_role("heading", name="See a face at any age")).to_be_visible()
    upload(page, ASTRONAUT)


def test_weight_and_first_sight(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    sizes: list[float] = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map((e) => e.transferSize)"
    )
    assert len(sizes) >= 8
    assert 10_000 < sum(sizes) < 150_000
    paint: float = page.evaluate(
        "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().at(-1).startTime))"
        ".observe({ type: 'largest-contentful-paint', buffered: true }))"
    )
    assert paint < 2500
