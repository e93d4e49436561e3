"""The page's files: what browsers are told, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx

from dorian_gateway.page_files import FOLDER
from tests.gateway.gateway_process import GatewayProcess

MAX_BYTES = 150_000  # of all files together


def policy_of(response: httpx.Response) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


def test_the_page_is_served_with_a_strict_policy(http: httpx.Client) -> None:
    response = http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = policy_of(response)
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_every_file_that_the_page_names_is_served(http: httpx.Client) -> None:
    paths = set(re.findall(r'(?:src|href)="(/[^"]*)"', http.get("/").text))
    assert len(paths) > 7
    for path in paths:
        response = http.get(path)
        assert response.status_code == 200, path
        kinds = {"js": "javascript", "css": "css", "svg": "svg", "json": "json"}
        assert kinds[path.rpartition(".")[2]] in response.headers["content-type"]


def test_files_are_kept_and_asked_for_again(http: httpx.Client) -> None:
    response = http.get("/page/app.js")
    assert response.headers["cache-control"] == "no-cache"
    assert http.get("/page/app.js", headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    assert http.get("/openapi.json").headers["cache-control"] == "no-store"


def test_nothing_is_loaded_from_elsewhere_or_kept() -> None:
    texts = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert sum(len(text.encode()) for text in texts.values()) < MAX_BYTES
    for name, text in texts.items():
        addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.-]*\.[a-z]+[^\s\"')]*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML|eval\(", text), name
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=", texts["index.html"])


def test_a_gateway_without_page(start: Callable[..., GatewayProcess]) -> None:
    running = start("--no-page")
    assert httpx.get(f"{running.url}/").status_code == 404
    assert httpx.get(f"{running.url}/v1/methods").status_code == 200
