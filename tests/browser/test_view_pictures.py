"""Pictures in a real browser: nothing sticks out, nothing covers a name, the theme is followed, the keyboard reaches all."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure.view import html, svg, timeline

STICKS_OUT = """() => {
  const box = document.querySelector(".pd-box").getBoundingClientRect();
  return [...document.querySelectorAll("text, .pd-head *")]
    .filter(node => node.getBoundingClientRect().width > 0)
    .filter(node => node.getBoundingClientRect().right > box.right + 1 || node.getBoundingClientRect().left < box.left - 1)
    .map(node => node.textContent);
}"""
COVERED = """() => [...document.querySelectorAll(".pd-row")].filter(row => {
  const seen = node => node.getBoundingClientRect().width > 0;
  const name = [...row.children].filter(node => node.tagName === "text").filter(seen)[0].getBoundingClientRect();
  const bars = [...row.querySelectorAll(":scope > svg > rect")].filter(seen).map(node => node.getBoundingClientRect());
  return bars.some(bar => bar.left + 1 < name.right && bar.top < name.bottom && bar.bottom > name.top);
}).map(row => row.getAttribute("aria-label"))"""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runs that the tests of pictures share."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "unit"))
    return import_module("view_runs")


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    width, scheme = getattr(request, "param", (1200, "light"))
    context = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    yield context.new_page()
    context.close()


def show(page: Any, runs: ModuleType, *names: str, body: str = "") -> None:
    drawn = "".join(html(timeline(runs.ALL[name](), runs.ns(5.2))) for name in names)
    page.set_content(f'<meta charset="utf-8"><style>body{{margin:0}}</style><body {body}>{drawn}</body>')


@pytest.mark.parametrize("page", [(n, "light") for n in (380, 400, 620, 760, 900, 1200, 2200)], indirect=True)
@pytest.mark.parametrize("name", ["killed", "everything", "failed", "fan_out", "month_long", "thousands"])
def test_at_every_width_all_text_is_inside_and_no_bar_covers_a_name(
    page: Any, runs: ModuleType, name: str
) -> None:
    show(page, runs, name)
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate(COVERED) == []


def background(page: Any) -> str:
    return str(page.evaluate("() => getComputedStyle(document.querySelector('.pd-box')).backgroundColor"))


@pytest.mark.parametrize("page", [(900, "light"), (900, "dark")], indirect=True)
def test_jupyterlabs_theme_wins_over_the_systems(page: Any, runs: ModuleType) -> None:
    show(page, runs, "success")
    system = background(page)
    show(page, runs, "success", body='data-jp-theme-light="true" style="--jp-layout-color0:#fff"')
    light = background(page)
    show(page, runs, "success", body='data-jp-theme-light="false" style="--jp-layout-color0:#111"')
    dark = background(page)
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(17, 17, 17)")
    assert system in ("rgb(255, 255, 255)", "rgb(20, 23, 28)")


def test_two_pictures_on_a_page_that_reads_from_the_right(page: Any, runs: ModuleType) -> None:
    show(page, runs, "failed", "killed", body='dir="rtl"')
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate(COVERED) == []


def test_the_keyboard_reaches_every_row(page: Any, runs: ModuleType) -> None:
    show(page, runs, "retried")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(
            str(page.evaluate("() => document.activeElement.getAttribute('aria-label')")).split("\n")[0]
        )
    assert reached[0].startswith("workflow payment: completed")
    assert reached[2].startswith("activity charge: completed")


@pytest.mark.parametrize("page", [(400, "dark")], indirect=True)
def test_an_image_has_the_readers_colours_and_the_narrow_form(
    page: Any, runs: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "timeline.svg"
    file.write_text(svg(timeline(runs.killed(), runs.ns(60))), encoding="utf-8")
    page.goto(file.as_uri())
    seen = page.evaluate(
        """() => [getComputedStyle(document.querySelector("rect.pd-bg")).fill,
                  [...document.querySelectorAll(".pd-w1")].every(node => getComputedStyle(node).display === "none")]"""
    )
    assert seen == ["rgb(20, 23, 28)", True]
