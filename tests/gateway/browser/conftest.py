"""The page in a real Chromium, before the real server with the embedded bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.e2e.server_process import ServerProcess, start_server
from tests.gateway.browser_page import MILLISECONDS
from tests.gateway.gateway_process import GatewayProcess, start_gateway

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    running = start_server("--bundle", "models/default", "--threads", "1")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def gateway(server: ServerProcess) -> Iterator[GatewayProcess]:
    running = start_gateway(server.address)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian has it as the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, gateway: GatewayProcess) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page; at the end nothing may have been loaded from elsewhere or complained about."""
    contexts, complaints, foreign = [], [], []

    def begin(**options: Any) -> Page:
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: foreign.append(request.url) if is_foreign(request) else None)
        page.goto(gateway.url)
        return page

    def is_foreign(request: Request) -> bool:
        return not request.url.startswith((gateway.url, "blob:"))

    yield begin
    for context in contexts:
        context.close()
    assert foreign == []
    # Chromium itself logs responses that are errors.
    assert [line for line in complaints if "the server responded with a status of" not in line] == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page(viewport={"width": 1280, "height": 800})
