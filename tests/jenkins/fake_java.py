#!/usr/bin/env python3
"""Stands in for `java` in the tests of the local start: a war, a controller, an agent."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


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
            "/job/ml/api/json": {"lastBuild": None, "inQueue": False},
        }
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
    if "dying" in Path(os.environ["CASC_JENKINS_CONFIG"]).read_text():
        print("out of heap", file=sys.stderr)
        sys.exit(5)
    Path("controller.json").write_text(json.dumps({"arguments": arguments, "environment": dict(os.environ)}))
    ThreadingHTTPServer(("127.0.0.1", int(port[0])), Handler).serve_forever()
else:
    name = arguments[arguments.index("-name") + 1]
    Path(f"{name}.json").write_text(json.dumps({"arguments": arguments, "environment": dict(os.environ)}))
    time.sleep(600)
