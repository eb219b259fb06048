"""For tests: a log whose rows one can look at, and the rules that every sink has to keep, as tests to run.

```python
from auditring.testing import capture

with capture() as audit:
    handle_request(audit.log)
    assert audit.actions() == ["OperationDenied"]
```

`SinkConformance` is for who writes a sink: `docs/sinks.md` has it from zero to a sink that passes. Nothing here imports
pytest, and nothing of the library imports anything here.
"""

from auditring.testing.capture import Capture, capture
from auditring.testing.conformance import SinkConformance
from auditring.testing.rules import RULES, RuleBroken

__all__ = ["RULES", "Capture", "RuleBroken", "SinkConformance", "capture"]
