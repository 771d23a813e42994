"""Which process of pytest-xdist runs which file: files that wait have processes of their own beside those that compute.

A file that waits most of its time says so, and for about how many seconds it takes:
`pytestmark = pytest.mark.waits(60)`.
"""

import re
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, Final

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_MARK: Final = re.compile(r"^pytestmark = .*pytest\.mark\.waits\((\d+)\)", re.MULTILINE)


@cache
def seconds(file: Path) -> int:
    """For how long a file waits; 0 if it computes."""
    found = _MARK.search(file.read_text())
    return int(found[1]) if found else 0


class LaneScheduling(LoadFileScheduling):
    """A file at a time to each process: the even ones take what waits first, the longest first; the odd ones last."""

    workqueue: OrderedDict[str, dict[str, Any]]

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = int(re.sub(r"\D", "", node.gateway.id)) % 2 == 0
        self.workqueue = OrderedDict(sorted(self.workqueue.items(), key=lambda one: self._place(*one, waits=waits)))
        super()._assign_work_unit(node)

    def _place(self, file: str, tests: dict[str, Any], *, waits: bool) -> tuple[int, int]:
        wait = seconds(self.config.rootpath / file)
        return (-wait, -len(tests)) if waits else (wait, -len(tests))
