"""The page in a real browser, whose scripts are off: the form is filled, sent, and answered."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.serving import service
from tests.conftest import Site
from tests.support import PASSENGER

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 60.0


class Browser:
    """One tab of Chromium, told what to do by the DevTools protocol: JSON over two pipes, ended by a zero."""

    def __init__(self, profile: Path) -> None:
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()
        # It reads from file 3 and writes to file 4; not every shell takes numbers of two digits here.
        started = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{answers}', "bash", CHROMIUM or "", "--headless"]
        started += ["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            started, pass_fds=(theirs, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(answers)
        self._read, self._asked, self._session = b"", 0, {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command; what happens besides is not looked at."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters} | self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._asked:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._from], [], [], SECONDS)[0], "the browser says nothing"
            assert (more := os.read(self._from, 65536)), "the browser ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def look(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, selector: str) -> None:
        """Wait until a whole page has such an element."""
        deadline = time.monotonic() + SECONDS
        there = f"document.readyState == 'complete' && !!document.querySelector({json.dumps(selector)})"
        while not self.look(there):
            assert time.monotonic() < deadline, f"{selector} did not appear"
            time.sleep(0.05)

    def type(self, selector: str, text: str) -> None:
        """Type a text into an emptied field."""
        self.look(
            f"(field => {{field.focus(); field.select()}})(document.querySelector({json.dumps(selector)}))"
        )
        self.ask("Input.insertText", text=text)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError, AssertionError):
            self._session = {}
            self.ask("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._to)
        os.close(self._from)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    browser = Browser(tmp_path / "profile")
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    yield browser
    browser.close()


def test_a_row_typed_into_the_page_is_answered_as_a_program_is(
    served: Site, free_port: int, browser: Browser
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running

    browser.ask("Page.navigate", url=running.url)
    browser.wait_for("form")
    for name, value in PASSENGER.items():
        selector = f'[name="column:{name}"]'
        if browser.look(f"document.querySelector('{selector}').tagName") == "SELECT":
            browser.look(f"document.querySelector('{selector}').value = {json.dumps(str(value))}")
        else:
            browser.type(selector, "" if value is None else str(value))
    browser.look("document.querySelector('button').click()")
    browser.wait_for(".said")

    shown = browser.look("[...document.querySelectorAll('.said data, .chances data')].map(one => one.value)")
    [said] = running.predict([PASSENGER])["predictions"]
    assert shown[0] == str(said["prediction"])
    assert [float(value) for value in shown[1:]] == [said["probability_0"], said["probability_1"]]
    assert browser.look("document.querySelectorAll('.drivers tr').length") > 2

    # What the browser itself lets pass, and the contract does not.
    browser.type('[name="column:Name"]', "Kelly")
    browser.look("document.querySelector('button').click()")
    browser.wait_for(".broken .problem")
    assert "pattern" in browser.look("document.querySelector('.broken .problem').textContent")
    assert browser.look("document.querySelector('.broken input').value") == "Kelly"
    assert browser.look("document.documentElement.scrollWidth <= innerWidth")
