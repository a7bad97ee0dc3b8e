"""Helpers for the tests of both reports: parse a page's HTML, and render it with a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE_PIXELS = 390
"""Width of a phone's screen."""

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")


class ParsedPage(HTMLParser):
    """A page's headings, number of charts, and the files that it would load from elsewhere."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.external: list[str] = []
        self.charts = 0
        self._in_heading = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag == "h2"
        self.charts += tag == "svg"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data") and not (value or "").startswith(("#", "data:")):
                self.external.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False


def assert_self_contained(source: str) -> None:
    """Fail if the page loads anything from elsewhere."""
    assert ParsedPage(source).external == []
    assert "@import" not in source
    assert not re.search(r"url\((?!['\"]?#)", source)


def assert_chart_ids_resolve(source: str) -> None:
    """Fail if a chart refers to an id of another chart: a clip path of the other would crop it."""
    for chart in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        assert set(re.findall(r"url\(#([^)]+)\)", chart)) <= set(re.findall(r'id="([^"]+)"', chart))


def screenshot(page: Path, folder: Path, width: int, height: int) -> NDArray[np.int64]:
    """Return the page as the browser draws it: RGB (height, width, 3). Not narrower than 500 pixels."""
    picture = folder / "page.png"
    _run_browser(
        folder,
        *("--disable-gpu", "--hide-scrollbars", f"--window-size={max(width, 500)},{height}"),
        *(f"--screenshot={picture}", page.as_uri()),
    )
    with av.open(str(picture)) as file:
        pixels: NDArray[np.int64] = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    return pixels


def count_pixels(pixels: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Return how many pixels have nearly this colour."""
    return int((np.abs(pixels - colour).sum(axis=2) < 12).sum())


def share_of_lines_drawn(pixels: NDArray[np.int64]) -> float:
    """Return the share of lines of pixels that are not of one colour."""
    return float((np.ptp(pixels, axis=(1, 2)) > 0).mean())


def measure_in_frame(page: Path, folder: Path, width: int, expression: str) -> int:
    """Return the JavaScript `expression` of the page's document `d`, in a frame of `width` pixels.

    A frame, since browsers open no window as narrow as a phone.
    """
    frame = page.parent / "frame.html"
    frame.write_text(
        f"<iframe id=frame src={page.name} width={width} height=800 style='border: 0'></iframe><script>"
        f"frame.onload = () => {{ let d = frame.contentDocument; document.title = {expression} }}</script>"
    )
    output = _run_browser(
        folder,
        *("--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"),
        frame.as_uri(),
    )
    title = re.search(r"<title>(\d+)</title>", output)
    assert title, output
    return int(title[1])


def _run_browser(folder: Path, *arguments: str) -> str:
    assert BROWSER
    command = [BROWSER, "--headless=new", "--no-sandbox", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [*command, *arguments], check=True, capture_output=True, timeout=60, text=True
    ).stdout
