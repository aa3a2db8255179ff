"""Asking a service, wherever it runs."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ml import locations
from ml.errors import MlError
from ml.serving import API_KEY_HEADER, REPLAY_HEADER

if TYPE_CHECKING:
    import httpx2

POLL_SECONDS = 0.05
Found = TypeVar("Found")


@dataclass(frozen=True)
class Service:
    """A running service: where it listens and which process it is."""

    url: str
    pid: int | None = None  # none for a service that this machine does not run

    @property
    def place(self) -> str:
        """Where it answers, for people."""
        return self.url

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON that ``path`` answers; no answer, or none in JSON, raises ``MlError``."""
        return self._ask("GET", path)

    def health(self, project: str = "", channel: str = "") -> dict[str, Any]:
        """Return what each worker serves; what is no service, or not of that channel, raises ``MlError``."""
        answer = self.get("/health")
        if "workers" not in answer:
            raise self._stranger()
        found = answer.get("project"), answer.get("channel")
        if project and found != (project, channel):
            raise MlError(
                f"the service at {self.place} answers for {found[0]}, channel {found[1]}, "
                f"not for {project}, channel {channel}: is the address, or the port, right?"
            )
        return answer

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer of ``POST /predict``; an error status raises ``MlError``."""
        return self._ask("POST", "/predict", rows)

    def replay(self, rows: Iterable[dict[str, Any]]) -> None:
        """Ask for each row alone; what comes of it is seen in the metrics."""
        import httpx2

        with _client(self.url) as client:
            for row in rows:
                with contextlib.suppress(httpx2.HTTPError):  # what was not answered is not counted either
                    client.post(f"{self.url}/predict", json=row, headers=_headers())

    def metrics(self) -> str:
        """Return what the service tells Prometheus, or raise ``MlError``."""
        import httpx2

        try:
            with _client(self.url) as client:
                response = client.get(self.url + "/metrics")
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise MlError(f"the service at {self.place} does not tell its metrics: {error}") from error
        return response.text

    def _stranger(self) -> MlError:
        return MlError(f"what answers at {self.place} is no service of a model: which program is that?")

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        import httpx2

        try:
            with _client(self.url) as client:
                response = client.request(method, self.url + path, json=body, headers=_headers())
            answer = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise MlError(f"the service at {self.place} does not answer {path}: {error}") from error
        if method == "POST" and response.status_code != 200:
            raise MlError(f"the service at {self.place} answers {path} with {response.status_code}: {answer}")
        if not isinstance(answer, dict):
            raise self._stranger()
        return answer


def wait_until(probe: Callable[[], Found | None], seconds: float) -> Found | None:
    """Return what a probe finds as soon as it finds something, or nothing after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := probe()) is not None:
            return found
        time.sleep(POLL_SECONDS)
    return None


def _client(url: str) -> "httpx2.Client":
    """Return who asks a service; only where it proves who it is, the certificates to trust are read."""
    import httpx2  # which takes longer than many a command that asks nobody

    return httpx2.Client(timeout=10, trust_env=False, verify=url.startswith("https:"))


def _headers() -> dict[str, str]:
    key = locations.api_key()
    return {REPLAY_HEADER: "deploy"} | ({API_KEY_HEADER: key} if key else {})
