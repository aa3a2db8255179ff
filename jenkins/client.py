"""The few requests that the start commands make to a controller, with nothing but the standard library."""

import base64
import http.cookiejar
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

from ml.errors import MlError


# What a newcomer does when Jenkins is there; the first build of `push` is running by then.
NEXT = """next       1. sign in as admin: `push` checks the code and builds each project in a job of its own
           2. open a project's newest build: what came of it, the Model report, the History
           3. change something in ml/projects and push it: only what you touched is built"""


class Controller:
    """A controller, asked as one of its users."""

    def __init__(self, url: str, user: str, password: str) -> None:
        """Refer to the controller at ``url``; nothing is asked yet."""
        self.url = url.rstrip("/")
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._authorization = {"Authorization": f"Basic {secret}"}
        # The token against forged requests is bound to a session, hence the cookies.
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def wait(self, seconds: float, alive: Callable[[], None] = lambda: None) -> None:
        """Wait until the controller answers; ``alive`` may raise if there is nothing to wait for any more."""
        deadline = time.monotonic() + seconds
        while True:
            alive()
            try:
                self.get("/api/json")
                return
            except MlError as error:
                if time.monotonic() > deadline:
                    raise MlError(f"Jenkins does not answer after {seconds:g} s: {error}") from error
            time.sleep(1)

    def get(self, path: str) -> bytes:
        """Return what a GET request answers; an error status or no answer raises ``MlError``."""
        return self._ask(urllib.request.Request(self.url + path, headers=self._authorization))

    def json(self, path: str) -> dict[str, Any]:
        """Return the JSON object that a GET request answers."""
        content: dict[str, Any] = json.loads(self.get(path))
        return content

    def post(self, path: str, **form: str) -> None:
        """Send a form with the token that Jenkins asks for."""
        crumb = self.json("/crumbIssuer/api/json")
        headers = self._authorization | {crumb["crumbRequestField"]: crumb["crumb"]}
        data = urllib.parse.urlencode(form).encode()
        self._ask(urllib.request.Request(self.url + path, data=data, headers=headers))

    def agent_secret(self, name: str) -> str:
        """Return the secret with which an inbound agent connects."""
        description = ElementTree.fromstring(self.get(f"/computer/{name}/jenkins-agent.jnlp"))
        secret = description.findtext(".//argument")
        if not secret:
            raise MlError(f"Jenkins tells no secret for agent {name}")
        return secret

    def offline(self, names: list[str]) -> list[str]:
        """Return which of these agents are not connected."""
        found = self.json("/computer/api/json?tree=computer[displayName,offline]").get("computer", [])
        return [one["displayName"] for one in found if one["offline"] and one["displayName"] in names]

    def settle(self) -> None:
        """Read the configuration again, so that every job shows; the repository as it is counts as a push."""
        self.post("/configuration-as-code/reload")
        state = self.json("/job/push/api/json?tree=lastBuild[number],inQueue")
        if not state.get("lastBuild") and not state.get("inQueue"):
            self.post("/job/push/build")

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with self._opener.open(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except (urllib.error.URLError, OSError) as error:
            raise MlError(f"{request.full_url}: {error}") from error
