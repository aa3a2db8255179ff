"""A user's Python, loaded under a name made from its content."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ml.errors import MlError


def load_module(file: Path, code: bytes) -> ModuleType:
    """Import the code of a project's Python file under a name made from it.

    A pickled pipeline refers to its feature functions by that name, so a model always runs the code it was
    trained with, even beside another version of the same project in one process. Code that does not import
    raises ``MlError``.
    """
    name = f"ml_project_{file.stem}_{hashlib.sha256(code).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            exec(compile(code, str(file), "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[name]
            # A file that calls sys.exit would end a stage as if all were done.
            if not isinstance(error, Exception | SystemExit):
                raise
            line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
            raise MlError(f"{file}: does not import: {line}{type(error).__name__}: {error}") from error
    return sys.modules[name]
