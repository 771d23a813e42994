"""The table of all REST endpoints, a line each: an address, and the stored operation that is run there."""

from pathlib import Path
from typing import Final

from crm.graph.run.stored_operations import StoredOperations
from crm.web.rest.endpoint import Endpoint
from crm.web.rest.health import health

AI_TASKS: Final = StoredOperations.read(Path(__file__).with_name("ai_tasks.graphql"))
_TASKS: Final = "/api/ai/tasks"
_TASK: Final = f"{_TASKS}/{{id}}"
_RETRY: Final = AI_TASKS["RetryAiTask"]
_2026_11_20: Final = 1795132800

ENDPOINTS: Final = (
    Endpoint("POST", _TASKS, AI_TASKS["CreateAiTask"], status=201, body="input", location=_TASK),
    Endpoint("GET", _TASKS, AI_TASKS["AiTasks"], paged=True),
    Endpoint("GET", _TASK, AI_TASKS["AiTask"]),
    Endpoint("PUT", f"{_TASK}/cancel", AI_TASKS["CancelAiTask"]),
    Endpoint("POST", f"{_TASK}/retry", _RETRY, status=202, location=_TASK),
    Endpoint("GET", f"{_TASK}/retry", _RETRY, status=202, location=_TASK, deprecated=_2026_11_20),
    Endpoint("GET", f"{_TASKS}/queue/status", AI_TASKS["AiTaskQueueStatus"]),
    Endpoint("POST", f"{_TASKS}/batch", AI_TASKS["CreateAiTasks"], status=201),
    Endpoint("GET", f"{_TASKS}/statistics/summary", AI_TASKS["AiTaskStatistics"]),
    Endpoint("POST", f"{_TASKS}/cleanup/old", AI_TASKS["CleanupOldAiTasks"]),
    Endpoint("POST", f"{_TASKS}/cleanup/timeout-stale", AI_TASKS["TimeoutStaleAiTasks"]),
    Endpoint("GET", f"{_TASKS}/health", AI_TASKS["AiTaskHealth"], shown=health),
)
