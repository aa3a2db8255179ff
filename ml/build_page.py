"""What the page of a Jenkins build says of it: a line for each command."""

import html
import re

from ml import locations


def tell_build_page(line: str) -> None:
    """Add a line of HTML to the file that ``ML_OUTCOME`` names: Jenkins shows it on the page of the build."""
    if line and (file := locations.outcome_file()):
        linked = re.sub(r"https?://[^\s,;()]+", r'<a href="\g<0>">\g<0></a>', html.escape(line))
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(linked + "<br>\n")
