"""Deployment files as an operator would leave them, and what is wrong with them."""

from pathlib import Path

import pytest

from auditring import DeploymentError, deployment

__all__ = ["load", "mistakes", "write"]


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A configuration as an operator would leave it."""
    path = folder / "auditring.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def load(folder: Path, text: str, **environ: str) -> deployment.Deployment:
    """A deployment of this file and no other environment than this."""
    return deployment.load(write(folder, text), environ=environ)


def mistakes(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    """What is wrong with it."""
    with pytest.raises(DeploymentError) as caught:
        load(folder, text, **environ)
    return caught.value.mistakes
