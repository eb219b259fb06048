"""The page on the agent: its commands do what it says, one after the other, on what its examples have recorded."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from agent_rig import AgentProcess

PAGE = Path(__file__).parents[1] / "docs" / "agent.md"


def test_every_command_of_the_page_runs_on_what_its_examples_record(tmp_path: Path) -> None:
    """One that does not end by itself is told to, once it works."""
    page = PAGE.read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True, timeout=60)
    consoles = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line.removeprefix("$ ")) for block in consoles for line in block.splitlines()]
    assert len(commands) > 3
    for name, verb, *rest in commands:
        assert name == "auditring"
        if verb == "agent" and "--once" not in rest:
            agent = AgentProcess(tmp_path / rest[0], *rest[1:], sinks=())
            agent.until_said("following")
            assert agent.stop() == 0
            continue
        subprocess.run([sys.executable, "-m", "auditring", verb, *rest], cwd=tmp_path, check=True, timeout=60)
    assert list((tmp_path / "audit").glob("events/*/*.parquet"))
    assert not any((tmp_path / "audit" / "journal").iterdir())
