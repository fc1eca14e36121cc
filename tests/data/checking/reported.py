"""What a report of a check says, as the tests compare it."""

from regstudio.data.checking.report import CheckReport


def messages(report: CheckReport, severity: str) -> list[str]:
    """The problems of one severity as the user reads them, without the folder."""
    root = report.index.root
    return [str(p).removeprefix(f"{root}/") for p in report.index.problems if p.severity == severity]


def names(report: CheckReport) -> tuple[list[str], list[str]]:
    return [case.id for case in report.index.train], [case.id for case in report.index.validation]
