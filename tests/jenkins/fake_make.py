#!/usr/bin/env python3
"""Stands in for `make` where a test is about the pipeline alone: a stage finds files, and leaves files."""

import os
import sys
from pathlib import Path

NEEDED = {
    "train": ["data/manifest.json"],
    "quality": ["data/manifest.json", "model/model.pkl"],
    "deploy": ["data/manifest.json", "model/model.pkl", "quality/verdict.json"],
}
LEFT = {
    "data": ["data/manifest.json"],
    "train": ["model/model.pkl", "model/manifest.json"],
    "quality": ["quality/verdict.json", "quality/report/index.html", "history/index.html"],
    "deploy": ["deploy/deployment.json"],
}

target = sys.argv[-1]
if target == "approval":
    print(Path(os.environ["APPROVALS"]).read_text() if "APPROVALS" in os.environ else "no")
    sys.exit()
if target == "install":
    sys.exit()
if target == "monitor-projects":
    print(Path(os.environ["LOOKS"]).read_text(), end="")
    sys.exit()
build = Path("build") / os.environ["PROJECT"]
if missing := [name for name in NEEDED.get(target, []) if not (build / name).exists()]:
    sys.exit(f"error: {target} lacks {', '.join(missing)}")
for name in LEFT.get(target, []):
    (build / name).parent.mkdir(parents=True, exist_ok=True)
    (build / name).write_text(target)
if target == "quality":
    history = build / "history.jsonl"
    earlier = history.read_text().splitlines()
    history.write_text("\n".join([*earlier, f"figures {len(earlier) + 1}"]) + "\n")
with open(os.environ["ML_OUTCOME"], "a", encoding="utf-8") as outcome:
    outcome.write(f"{target}: done\n")
