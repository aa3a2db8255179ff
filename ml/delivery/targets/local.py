"""This machine, or services that run elsewhere and see the same registry."""

from collections.abc import Iterator
from dataclasses import dataclass

from ml.console import say
from ml.delivery.targets.interface import Target
from ml.project import Project
from ml.serving import service as services
from ml.serving.client import Service
from ml.serving.workers import running_code


@dataclass(frozen=True)
class Local:
    """Processes of this machine, or services that run elsewhere and see the same registry."""

    project: Project
    channel: str
    port: int | None
    hosts: tuple[str, ...]

    def prepare(self) -> list[Service]:
        """Return the services that run elsewhere, or else the one here: started, with this build's code."""
        code, own = running_code(), (self.project.name, self.channel)
        if elsewhere := self._elsewhere():
            for one in elsewhere:
                if one.health(*own).get("code") != code:
                    say(f"deploy: {one.url} runs other code than this build: renew it when it suits")
            return elsewhere
        running = services.find(*own)
        port = self.port or self.project.channels[self.channel].port
        if running and running.health(*own).get("code") != code:
            if services.same_environment(running):
                say("deploy: the service runs other code than this build: new workers take over")
                services.renew(running, *own)
            else:
                say("deploy: the service runs in another environment than this build: restarting it")
                port = int(running.url.rsplit(":", 1)[1])
                services.stop(*own)
                running = None
        if running and not running.url.endswith(f":{port}"):
            say(
                f"deploy: the service stays at {running.url}: `serve --stop` and deploy again for port {port}"
            )
        return [running or services.start(*own, port, self.project.workers)]

    def known(self) -> list[Service]:
        """Return the services that run, and start none."""
        local = services.find(self.project.name, self.channel)
        return self._elsewhere() or ([local] if local else [])

    def bring(self) -> None:
        """Do nothing: these services see the registry itself."""

    def moved(self) -> None:
        """Do nothing: these services look at the pointer itself."""

    def _elsewhere(self) -> list[Service]:
        hosts = self.hosts or tuple(self.project.hosts.get(self.channel, ()))
        return services.elsewhere(self.project.name, self.channel, hosts)


def open_local(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield this machine, or the services elsewhere that ``hosts`` or the project names."""
    yield Local(project, channel, port, hosts)
