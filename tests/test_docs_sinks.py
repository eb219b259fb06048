"""`docs/sinks.md`: the sink of the page passes the test of the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import auditring

PAGE = Path(__file__).parents[1] / "docs" / "sinks.md"


def test_the_sink_of_the_page_passes_its_test(tmp_path: Path) -> None:
    """As its reader would run it: a file with both, and pytest."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program = [block for block in blocks if "class " in block]
    assert len(program) == len(blocks) - 1 == 2
    (tmp_path / "test_lines_sink.py").write_text("import json\n\n" + "\n\n".join(program))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-W", "error", "test_lines_sink.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(auditring.__file__).parents[1]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
    )
    assert re.search(r"^13 passed, 1 skipped in", done.stdout, re.MULTILINE), done.stdout + done.stderr
