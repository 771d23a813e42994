"""`crm serve` with a probe in it, which tells what no client sees."""

import json
import urllib.request
from typing import Any

from tests.support.servers import Server
from tests.support.waiting import eventually


class Probed(Server):
    """The server with the probe in it."""

    module = "tests.attacks.served"

    def held(self) -> float:
        """Seconds of processor time that the loop was held since this was asked for last."""
        return self._probe()["cpu"]

    def followers(self) -> int:
        """How many subscriptions have their place in the stream."""
        return self._probe()["followers"]

    async def followed_by(self, count: int) -> None:
        """Wait until so many subscriptions have their place in the stream, no more and no less."""
        await eventually(lambda: self.followers() == count, 60)

    def _probe(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/probe", timeout=30) as answer:
            return json.loads(answer.read())
