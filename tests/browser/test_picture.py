"""The live picture of a run in JupyterLab, as a person sees and uses it.

Screenshots are written into pytest's temporary folder (`--basetemp` chooses it): look at them after a change of the picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'perdure[browser]'")
from playwright.sync_api import expect

expect.set_options(timeout=30_000)  # JupyterLab takes its time on a busy machine

DEFINE = (
    "%load_ext perdure",
    """%%activity
async def validate(order: dict) -> None:
    assert order["amount"] > 0""",
    """%%activity --timeout 30s --retries 5
async def charge(order: dict) -> str:
    from pathlib import Path
    if not Path(f"service-{order['id']}").exists():
        raise ConnectionError("the payment service does not answer")
    return f"charge-{order['id']}\"""",
    """%%activity
async def send_receipt(order: dict, charge_id: str) -> None:
    print("receipt for", charge_id)""",
    """%%workflow
async def payment(order: dict) -> dict:
    await validate(order)
    charge_id = await charge(order)
    await send_receipt(order, charge_id)
    return {"charge": charge_id}""",
)
START, WAIT = len(DEFINE), len(DEFINE) + 1


def cells(number: int, *more: str) -> list[str]:
    start = f'run = payment.start({{"id": {number}, "amount": 120}}, id="payment-{number}")\nrun'
    return [*DEFINE, start, *more]


def started(notebook: Any) -> Any:
    """Runs the cells up to the start; the picture that appears."""
    for index in range(START + 1):
        notebook.run(index)
    picture = notebook.cell(START).locator(".perdure-run")
    expect(picture.get_by_role("button", name="Refresh")).to_be_visible()
    return picture


def row(picture: Any, name: str) -> Any:
    return picture.locator(f'.pd-row[aria-label^="activity {name}"]')


def serve(folder: Path, number: int) -> None:
    """The payment service comes up."""
    (folder / f"service-{number}").touch()


def test_a_run_draws_itself_live_and_ends_as_a_static_picture(
    open_notebook: Any, lab: Any, tmp_path: Path
) -> None:
    notebook = open_notebook(*cells(1, "await run"), height=1300)
    picture = started(notebook)
    expect(picture.locator(".pd-verdict")).to_contain_text("the payment service does not answer")
    expect(picture.locator(".perdure-clock")).to_have_text(re.compile(r"charge, attempt \d in \d+ s"))
    notebook.page.screenshot(path=tmp_path / "retrying.png")
    notebook.start(WAIT)
    serve(lab.folder, 1)
    notebook.finished(WAIT)
    expect(notebook.output(WAIT).last).to_have_text("{'charge': 'charge-1'}")
    expect(notebook.cell(WAIT).locator(".jp-OutputArea")).to_contain_text("receipt for charge-1")
    expect(picture.locator(".pd-chip")).to_have_text("completed")
    expect(picture.get_by_role("button", name="Refresh")).to_have_count(0)
    row(picture, "charge").click()
    expect(picture.locator(".perdure-details")).to_contain_text(
        "ConnectionError: the payment service does not answer"
    )
    notebook.page.screenshot(path=tmp_path / "completed.png")


def test_details_open_by_click_and_by_keyboard(open_notebook: Any, lab: Any) -> None:
    notebook = open_notebook(*cells(2))
    picture = started(notebook)
    details = picture.locator(".perdure-details")
    row(picture, "charge").click()
    expect(details).to_contain_text("attempt")
    expect(details).to_contain_text("ConnectionError: the payment service does not answer")
    expect(details).to_contain_text("kernel 1")
    notebook.page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    notebook.page.keyboard.press("ArrowUp")
    notebook.page.keyboard.press("Enter")
    expect(details).to_contain_text("validate")
    serve(lab.folder, 2)
    expect(picture.locator(".pd-chip")).to_have_text("completed")
    expect(details).to_contain_text("validate")


@pytest.mark.parametrize(("wait", "number"), [("run.result()", 3), ("await run", 4)])
def test_cancel_acts_while_a_cell_waits(open_notebook: Any, wait: str, number: int) -> None:
    notebook = open_notebook(*cells(number, wait))
    picture = started(notebook)
    notebook.start(WAIT)
    picture.get_by_role("button", name="Cancel").click()
    notebook.finished(WAIT)
    expect(notebook.output(WAIT)).to_contain_text("cancelled")
    expect(picture.locator(".pd-chip")).to_have_text("canceled")


def test_terminate_asks_first(open_notebook: Any) -> None:
    notebook = open_notebook(*cells(5))
    picture = started(notebook)
    picture.get_by_role("button", name="Terminate…").click()
    picture.get_by_role("button", name="Keep running").click()
    expect(picture.locator(".pd-chip")).to_have_text("running")
    picture.get_by_role("button", name="Terminate…").click()
    picture.get_by_role("button", name="Terminate now").click()
    expect(picture.locator(".pd-chip")).to_have_text("terminated")


def test_a_saved_notebook_shows_the_closed_run_without_a_kernel(
    open_notebook: Any, reopen: Any, lab: Any
) -> None:
    notebook = open_notebook(*cells(6, "await run"))
    picture = started(notebook)
    serve(lab.folder, 6)
    notebook.run(WAIT)
    expect(picture.locator(".perdure-bar")).to_have_count(0)
    notebook.save()
    saved = json.loads((lab.folder / notebook.name).read_text())
    (output,) = saved["cells"][START]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert len(json.dumps(output)) < 100_000
    assert "widgets" not in saved["metadata"]

    page = reopen(notebook.name).page
    again = page.locator(".perdure-run")
    expect(again.locator(".pd-chip")).to_have_text("completed")
    row(again, "charge").click()
    expect(again.locator(".perdure-details")).to_contain_text("charge")


def test_a_saved_notebook_shows_the_open_run_as_it_was(open_notebook: Any, reopen: Any) -> None:
    notebook = open_notebook(*cells(14))
    picture = started(notebook)
    expect(row(picture, "charge")).to_be_visible()
    notebook.run(START)  # the cell shows the run as it is by now
    expect(row(picture, "charge")).to_be_visible()
    notebook.save()
    again = reopen(notebook.name).cell(START).locator(".perdure-run")
    expect(again.locator(".pd-chip")).to_have_text("running")
    expect(row(again, "validate")).to_be_visible()
    expect(again.get_by_role("button")).to_have_count(0)


def test_an_untrusted_notebook_shows_the_picture_as_an_image(
    open_notebook: Any, reopen: Any, lab: Any
) -> None:
    notebook = open_notebook(*cells(7, "await run"))
    started(notebook)
    serve(lab.folder, 7)
    notebook.run(WAIT)
    expect(notebook.cell(START).locator(".perdure-bar")).to_have_count(0)
    notebook.save()
    saved = json.loads((lab.folder / notebook.name).read_text())
    saved["cells"][0]["source"] = "# written by somebody else"  # the signature no longer fits
    (lab.folder / "untrusted.ipynb").write_text(json.dumps(saved))
    page = reopen("untrusted.ipynb").page
    image = page.locator("img.perdure-image")
    expect(image).to_be_visible()
    assert image.evaluate("node => node.naturalWidth") > 0


def test_a_page_that_is_loaded_again_finds_the_live_picture(open_notebook: Any, lab: Any) -> None:
    notebook = open_notebook(*cells(8))
    picture = started(notebook)
    notebook.save()
    notebook.page.reload()
    expect(picture.locator(".pd-verdict")).to_contain_text("the payment service does not answer")
    serve(lab.folder, 8)
    expect(picture.locator(".pd-chip")).to_have_text("completed")


COUNT = """
import asyncio, ipywidgets
from perdure.session import opened
def pictures():
    tasks = [task for task in asyncio.all_tasks(opened().loop) if task.get_name().startswith("picture of")]
    widgets = [each for each in ipywidgets.widgets.widget._instances.values() if "RunWidget" in str(type(each))]
    return f"{len(tasks)} tasks, {len(widgets)} widgets"
pictures()
"""


def test_outputs_that_are_overwritten_leave_nothing_behind(open_notebook: Any, lab: Any) -> None:
    notebook = open_notebook(*cells(9, COUNT, "pictures()", "run", "pictures()"))
    picture = started(notebook)
    for _ in range(3):
        notebook.run(START)
        expect(picture.get_by_role("button", name="Refresh")).to_be_visible()
    notebook.run(START + 1)
    expect(notebook.output(START + 1)).to_have_text("'1 tasks, 1 widgets'")
    notebook.run(START + 3)  # a second cell shows the same run
    notebook.run(START + 2)
    expect(notebook.output(START + 2)).to_have_text("'1 tasks, 2 widgets'")
    serve(lab.folder, 9)
    expect(picture.locator(".perdure-bar")).to_have_count(0)
    expect(notebook.cell(START + 3).locator(".perdure-bar")).to_have_count(0)
    notebook.run(START + 4)
    expect(notebook.output(START + 4)).to_have_text("'0 tasks, 0 widgets'")


@pytest.mark.parametrize(
    ("theme", "width", "number"),
    [("JupyterLab Light", 400, 10), ("JupyterLab Dark", 1200, 11), ("JupyterLab Dark", 400, 12)],
)
def test_it_follows_the_theme_and_fits_a_narrow_page(
    open_notebook: Any,
    lab: Any,
    use_theme: Callable[[str], None],
    tmp_path: Path,
    theme: str,
    width: int,
    number: int,
) -> None:
    use_theme(theme)
    notebook = open_notebook(*cells(number), width=width, height=1400)
    picture = started(notebook)
    row(picture, "charge").click()
    expect(picture.locator(".perdure-details")).to_contain_text("ConnectionError")
    background = picture.locator(".pd-box").evaluate("node => getComputedStyle(node).backgroundColor")
    lightness = max(int(part) for part in background[4:-1].split(","))
    assert (lightness < 80) == ("Dark" in theme), background
    box, room = picture.bounding_box(), notebook.cell(START).bounding_box()
    assert box["x"] + box["width"] <= room["x"] + room["width"] + 1
    picture.scroll_into_view_if_needed()
    notebook.page.screenshot(path=tmp_path / f"{theme.split()[1].lower()}-{width}.png")
    serve(lab.folder, number)
    expect(picture.locator(".pd-chip")).to_have_text("completed")
    notebook.page.screenshot(path=tmp_path / f"{theme.split()[1].lower()}-{width}-closed.png")
