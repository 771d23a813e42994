"""HTTP clients for servers of this machine.

`httpx2` gives every client a TLS context of its own, 25 ms of computing each; none of these servers speaks TLS.
"""

from typing import Any

import httpx2


class AsyncClient(httpx2.AsyncClient):
    """A client that speaks plain HTTP."""

    def __init__(self, **options: Any) -> None:
        super().__init__(verify=False, trust_env=False, **options)


class Client(httpx2.Client):
    """The same, for tests that do not await."""

    def __init__(self, **options: Any) -> None:
        super().__init__(verify=False, trust_env=False, **options)
