"""Can you prove that nothing is missing? `check` holds every file and process of an audit directory against each other.

Each sealed file says which range of numbers it covers and how many of them were left out of it; journals and totals say
how far each process went. `check` reads both, in an order that is exact also while processes write, and finds what is
missing, doubled, cut, damaged or foreign, by range and file.

What it cannot find: there is no cryptographic seal. Whoever can write to the directory can rewrite a file and its
metadata, or a process's last files and its counters, so that all agree again.

    >>> from auditring import verify
    >>> report = verify.check("audit/")                                                     # doctest: +SKIP
    >>> report.complete, report.verdict                                                     # doctest: +SKIP
    (True, 'Complete: 1 process, nothing is missing.')
"""

from auditring.verify.checking import Progress, check
from auditring.verify.report import Finding, Kind, LinesReport, Loss, ProcessReport, Report, State

__all__ = [
    "Finding",
    "Kind",
    "LinesReport",
    "Loss",
    "ProcessReport",
    "Progress",
    "Report",
    "State",
    "check",
]
