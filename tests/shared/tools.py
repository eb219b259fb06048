"""Programs that a test wants and that a user's machine may lack; in CI they must be there."""

import os
import shutil

import pytest

__all__ = ["tool"]


def tool(name: str, package: str | None = None) -> str:
    """Where a program is, which Debian has in a `package`. Without it the test is skipped, and in CI it fails."""
    found = shutil.which(name)
    if found is None:
        assert os.environ.get("CI") != "true", f"CI has {name}: `make ci-tools`"
        pytest.skip(f"{name} is not installed (Debian: the package {package or name})")
    return found
