"""Set a share of the subjects apart to validate on: all images of a subject go to one side.

The choice depends on the seed and the names alone, in any order; few subjects change sides where others are added.
"""

import hashlib
import re
from collections.abc import Sequence

from regstudio.data.folders.case_files import Case

_SUBJECT = re.compile(r"\D*\d+")


def subject_of(case: Case) -> str:
    """Return who a case shows: what a table says, else its name up to its first number, "p01" of "p01_es"."""
    found = _SUBJECT.match(case.id)
    return case.subject or (found.group() if found else case.id)


def split_by_subject(cases: Sequence[Case], share: float, seed: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the cases to train on and those to validate on, in order; each side gets at least one subject.

    With a single subject, there are none to validate on.
    """

    def place(subject: str) -> bytes:
        return hashlib.blake2b(f"{seed} {subject}".encode(errors="surrogatepass")).digest()

    subjects = sorted({subject_of(case) for case in cases}, key=place)
    count = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    apart = set(subjects[: max(0, count)])
    return (
        tuple(case for case in cases if subject_of(case) not in apart),
        tuple(case for case in cases if subject_of(case) in apart),
    )
