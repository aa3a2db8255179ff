#!/usr/bin/env python3
"""Stands in for `java` in the tests of the local start: a war, a controller, an agent."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOT_FAILURE = """Nov 24, 2026 7:04:25 PM jenkins.InitReactorRunner$1 onTaskFailed
SEVERE: Failed ConfigurationAsCode.init
io.jenkins.plugins.casc.ConfigurationAsCodeBootFailure: what says nothing
    at a.b(C.java:1)
Caused by: org.codehaus.groovy.control.MultipleCompilationErrorsException: startup failed:
script: 3: unable to resolve class x
 @ line 3, column 1.
    ... 8 more
Nov 24, 2026 7:04:26 PM hudson.Other thing
Caused by: nothing of it
"""


class Handler(BaseHTTPRequestHandler):
    """Answers what the start commands ask, and writes down every request."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        with open("requests.log", "a", encoding="utf-8") as log:
            crumb = self.headers.get("Jenkins-Crumb", "")
            log.write(f"{self.command} {self.path} {crumb} {bool(self.headers.get('Authorization'))}\n")
        answers = {
            "/crumbIssuer/api/json": {"crumbRequestField": "Jenkins-Crumb", "crumb": "abc"},
            "/job/push/api/json": {"lastBuild": None, "inQueue": False},
            "/computer/api/json": {
                "computer": [{"displayName": "agent-1", "offline": Path("away").exists()}]
            },
        }
        if self.path.endswith("reload") and Path("refuse").exists():
            print("WARNING: ConfigurationAsCode.init failed\n\tat a.b(C.java:1)", file=sys.stderr)
            said = "Caused by: java.lang.NoSuchMethodError: x\n\tat a.b(C.java:1)"
            print(said, file=sys.stderr, flush=True)
            self.send_error(500)
            return
        if self.path.endswith("jenkins-agent.jnlp"):
            body = b"<jnlp><application-desc><argument>s3cret</argument></application-desc></jnlp>"
        else:
            body = json.dumps(answers.get(self.path.split("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


arguments = sys.argv[1:]
if "--version" in arguments:
    if os.environ.get("FAKE_JAVA_IS_OLD"):
        print(
            "Running with Java 11, which is older than the minimum required version (Java 21).",
            file=sys.stderr,
        )
        sys.exit(1)
    print("2.568.2")
elif port := [one.split("=")[1] for one in arguments if one.startswith("--httpPort=")]:
    if "broken" in Path(os.environ["CASC_JENKINS_CONFIG"]).read_text():
        print("SEVERE: ConfiguratorException: broken", file=sys.stderr, flush=True)
        time.sleep(600)
    if "incapable" in Path(os.environ["CASC_JENKINS_CONFIG"]).read_text():
        print(BOOT_FAILURE, file=sys.stderr, flush=True)
        time.sleep(600)
    if "dying" in Path(os.environ["CASC_JENKINS_CONFIG"]).read_text():
        print("out of heap", file=sys.stderr)
        sys.exit(5)
    Path("controller.json").write_text(json.dumps({"arguments": arguments, "environment": dict(os.environ)}))
    ThreadingHTTPServer(("127.0.0.1", int(port[0])), Handler).serve_forever()
else:
    name = arguments[arguments.index("-name") + 1]
    Path(f"{name}.json").write_text(json.dumps({"arguments": arguments, "environment": dict(os.environ)}))
    time.sleep(600)
