"""A real JupyterLab in a real browser. Skipped, with the reason, where either is missing.

    pip install -e '.[test,lab,browser]'      and a Chromium: apt install chromium, or CHROMIUM=/path/to/it

`notebook` is a factory: it writes a notebook, opens it in a new page and waits for its kernel.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing() -> str:
    for module, extra in (("playwright", "browser"), ("jupyterlab", "lab"), ("ipywidgets", "lab")):
        if find_spec(module) is None:
            return f"{module} is not installed: pip install 'perdure[{extra}]'"
    if CHROMIUM is None:
        return "no Chromium found: apt install chromium, or set CHROMIUM to its path"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _missing()
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Lab:
    """A running JupyterLab server, with settings, runtime files and an IPython profile of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        _write_settings(home / "settings")
        own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
        command += [f"--IdentityProvider.token={self.token}", "--LabApp.extension_manager=readonly"]
        command += [
            f"--LabApp.user_settings_dir={home / 'settings'}",
            f"--LabApp.workspaces_dir={home / 'workspaces'}",
        ]
        self._process = subprocess.Popen(
            command,
            env=os.environ | own | {"IPYTHONDIR": str(home / "ipython")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = self._wait_for_url()

    def _wait_for_url(self) -> str:
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                # A pipe that nobody reads fills up and stops the server.
                self._drain = threading.Thread(target=self._process.stderr.read)
                self._drain.start()
                return found.group()
        raise RuntimeError("JupyterLab did not start:\n" + "".join(seen))

    def api(self, method: str, path: str, body: object = None) -> Any:
        """A call of the server's REST API."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            headers={"Authorization": f"token {self.token}"},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def end_kernels(self) -> None:
        for session in self.api("GET", "api/sessions"):
            self.api("DELETE", f"api/sessions/{session['id']}")

    def use_theme(self, name: str) -> None:
        self.api(
            "PUT",
            "lab/api/settings/@jupyterlab/apputils-extension:themes",
            {"raw": json.dumps({"theme": name})},
        )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()


def _write_settings(folder: Path) -> None:
    """No questions (news, updates) that would cover the page."""
    apputils = folder / "@jupyterlab" / "apputils-extension"
    apputils.mkdir(parents=True)
    (apputils / "notification.jupyterlab-settings").write_text(
        '{"checkForUpdates": false, "fetchNews": "false"}'
    )


class OpenNotebook:
    """A notebook in a page, as a person uses it."""

    def __init__(self, page: Any, name: str) -> None:
        self.page = page
        self.name = name

    def cell(self, index: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Any:
        return self.cell(index).locator(".jp-OutputArea-output")

    def start(self, index: int) -> None:
        """Runs a cell and does not wait for it. A page that is still being set up swallows keys: then they are sent again."""
        from playwright.sync_api import expect

        prompt = self.cell(index).locator(".jp-InputPrompt")
        before = re.sub(r"\D", "", prompt.inner_text()) or "-"
        runs = re.compile(rf"\[(\*|(?!{before}\])\d+)\]")
        for patience in (3_000, 10_000, 30_000):
            self.cell(index).locator(".jp-InputArea-editor").click()
            self.page.keyboard.press("Control+Enter")
            try:
                expect(prompt).to_have_text(runs, timeout=patience)
                return
            except AssertionError:
                continue
        raise AssertionError(f"cell {index} does not run")

    def run(self, index: int) -> None:
        """Runs a cell and waits until it has its number."""
        self.start(index)
        self.finished(index)

    def finished(self, index: int) -> None:
        from playwright.sync_api import expect

        expect(self.cell(index).locator(".jp-InputPrompt")).to_have_text(
            re.compile(r"\[\d+\]"), timeout=30_000
        )

    def save(self) -> None:
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home"))
    yield lab
    lab.close()


class Pages:
    """Opens notebooks, each in a page of its own."""

    def __init__(self, lab: Lab, browser: Any) -> None:
        self._lab = lab
        self._browser = browser
        self._contexts: list[Any] = []

    def show(self, name: str, width: int = 1200, height: int = 900) -> OpenNotebook:
        context = self._browser.new_context(viewport={"width": width, "height": height})
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{self._lab.url}doc/tree/{name}?token={self._lab.token}")
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(state="attached")
        return OpenNotebook(page, name)

    def close(self, screenshots: Path) -> None:
        """Closes the pages. What they showed last is the first thing to look at when a test failed."""
        for number, context in enumerate(self._contexts):
            for page in context.pages:
                page.screenshot(path=screenshots / f"last-{number}.png")
            context.close()


@pytest.fixture
def pages(lab: Lab, browser: Any, tmp_path: Path) -> Iterator[Pages]:
    opened = Pages(lab, browser)
    yield opened
    opened.close(tmp_path)
    lab.end_kernels()


@pytest.fixture
def open_notebook(lab: Lab, pages: Pages, request: pytest.FixtureRequest) -> Callable[..., OpenNotebook]:
    """Writes a notebook of code cells and opens it in a new page; its kernel is ready."""

    def open_it(*cells: str, width: int = 1200, height: int = 900) -> OpenNotebook:
        name = re.sub(r"\W+", "-", request.node.name).strip("-") + ".ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, lab.folder / name)
        return pages.show(name, width, height)

    return open_it


@pytest.fixture
def reopen(lab: Lab, pages: Pages) -> Callable[[str], OpenNotebook]:
    """Ends the kernels and opens a saved notebook in a new page."""

    def open_again(name: str) -> OpenNotebook:
        lab.end_kernels()
        return pages.show(name)

    return open_again


@pytest.fixture
def use_theme(lab: Lab) -> Iterator[Callable[[str], None]]:
    yield lab.use_theme
    lab.use_theme("JupyterLab Light")
