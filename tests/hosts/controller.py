"""The files of a Jenkins that the role ``controller`` puts on a host: real ones, or what stands for it."""

import os
import subprocess
import zipfile
from pathlib import Path

from jenkins.make_secrets import make_secrets

GROOVY = Path("/usr/share/java/groovy-all.jar")
SOURCE = """
import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import groovy.transform.CompileStatic

@CompileStatic
class StandIn {
    static void main(String[] arguments) {
        String port = arguments.find { String one -> one.startsWith('--httpPort=') }.substring(11)
        HttpServer server = HttpServer.create(new InetSocketAddress('127.0.0.1', port as int), 0)
        server.createContext('/') { HttpExchange exchange ->
            println(exchange.requestURI.path)
            byte[] told = 'stands for Jenkins'.bytes
            exchange.sendResponseHeaders(200, told.length)
            exchange.responseBody.write(told)
            exchange.close()
        }
        server.start()
    }
}
"""


def files(folder: Path) -> dict[str, str]:
    """Return the variables that name war, plugins and secrets; what is missing is made in a folder."""
    if not folder.exists():
        (folder / "plugins").mkdir(parents=True)
        make_secrets(folder / "secrets")
        if not os.environ.get("JENKINS_WAR"):
            (folder / "plugins" / "of-nothing.jpi").write_bytes(b"")
            _stand_in(folder)
    given = {"JENKINS_WAR": "jenkins.war", "JENKINS_PLUGINS": "plugins", "JENKINS_SECRETS": "secrets"}
    return {name: os.environ.get(name) or str(folder / file) for name, file in given.items()}


def _stand_in(folder: Path) -> None:
    (folder / "StandIn.groovy").write_text(SOURCE, encoding="utf-8")
    subprocess.run(["groovyc", "StandIn.groovy"], cwd=folder, check=True)
    war = folder / "jenkins.war"
    with zipfile.ZipFile(GROOVY) as groovy, zipfile.ZipFile(war, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: StandIn\n\n")
        for name in groovy.namelist():
            if not name.startswith("META-INF/MANIFEST") and not name.endswith("/"):
                jar.writestr(name, groovy.read(name))
        for compiled in folder.glob("*.class"):
            jar.write(compiled, compiled.name)
