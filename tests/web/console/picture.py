"""`python -m tests.web.console.picture docs/console.png`: a picture of the page, with demo leads and tasks at work.

A server on a socket plays the model: it answers, has enough, has no credit, and then takes its time.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.browser import BROWSER
from tests.support.model_server import ModelServer, good, hang, status
from tests.support.packages import installed
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

HERE = Path(__file__).parent
SETTINGS = {
    "CRM_WORKER_CONCURRENCY": "4",
    "CRM_WORKER_POLL_SECONDS": "0.1",
    "CRM_WORKER_GRACE_SECONDS": "0",
    "CRM_AI_TIMEOUT_SECONDS": "120",
    "CRM_AI_MODEL": "a-model",
    "OPENAI_API_KEY": "a-key",
}
CALL = {"title": "Call about the offer", "reasoning": "They asked for it a week ago.", "dueDate": "2030-01-01"}
ANSWER = {"tasks": [CALL], "summary": "They compare two offers, and decide this month."}
RECOMMEND, SUMMARISE = "task_recommendations", "lead_summary"
MONDAY = (datetime.now(UTC) + timedelta(days=3)).replace(hour=6, minute=0, second=0).isoformat()

# What the model does, and the tasks that meet it; `leadId` is a place in the list of leads.
STAGES: list[tuple[Any, list[dict[str, Any]]]] = [
    (good(ANSWER, cost=0.0031), [{"taskType": RECOMMEND, "leadId": lead} for lead in (0, 1)]),
    (good(ANSWER, cost=0.0012), [{"taskType": SUMMARISE, "leadId": lead} for lead in (2, 3)]),
    (status(402, "Insufficient credits"), [{"taskType": RECOMMEND, "leadId": 4, "priority": "HIGH", "maxRetries": 0}]),
    (hang(6), [{"taskType": SUMMARISE, "leadId": 5, "timeoutSeconds": 4, "maxRetries": 1, "agentId": "night shift"}]),
    (status(429, "Slow down", Retry_After="240"), [{"taskType": RECOMMEND, "leadId": 6}]),
    (
        hang(),
        [
            {"taskType": "echo", "input": {"seconds": 60}, "timeoutSeconds": 90, "leadId": 7, "priority": "URGENT"},
            {"taskType": "echo", "input": {"seconds": 90}, "timeoutSeconds": 120, "agentId": "follow-up", "leadId": 8},
            {"taskType": RECOMMEND, "leadId": 9, "priority": "HIGH", "timeoutSeconds": 180},
            {"taskType": SUMMARISE, "leadId": 10, "timeoutSeconds": 180},
        ],
    ),
    (
        hang(),
        [
            {"taskType": RECOMMEND, "leadId": 11, "priority": "LOW"},
            {"taskType": RECOMMEND, "leadId": 12},
            {"taskType": SUMMARISE, "leadId": 12},
            {"taskType": SUMMARISE, "leadId": 13, "priority": "URGENT"},
            {"taskType": SUMMARISE, "leadId": 14, "priority": "LOW", "scheduledFor": MONDAY},
            {"taskType": "score_recalculation", "scheduledFor": MONDAY},
        ],
    ),
]


def call(server: Server, path: str, body: dict | None = None, method: str | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}{path}", data, headers, method=method)
    return json.load(urllib.request.urlopen(request, timeout=10))


def create_all(server: Server, model: ModelServer) -> None:
    found = call(server, "/graphql", {"query": "{ leads(limit: 20) { id } }"})["data"]["leads"]
    for behaviour, tasks in STAGES:
        model.will(behaviour)
        for task in tasks:
            about = {"leadId": int(found[task["leadId"]]["id"])} if "leadId" in task else {}
            last = call(server, "/api/ai/tasks", {**task, **about})
        time.sleep(2 + sum(task.get("maxRetries", 0) for task in tasks) * 10)
    call(server, f"/api/ai/tasks/{last['id']}/cancel", method="PUT")


def main(picture: str, scheme: str = "light") -> None:
    postgres, folder = throw_away_postgres()
    postgres.start()
    model = ModelServer()
    with tempfile.TemporaryDirectory() as logs:
        settings: dict[str, Any] = {**SETTINGS, "OPENAI_BASE_URL": model.url}
        server = Server(postgres.url, Path(logs) / "log", command=("dev",), **settings).start()
        try:
            create_all(server, model)
            target = str(Path(picture).resolve())
            installed(BROWSER)
            subprocess.run(
                ["node", "browse.mjs", "picture", server.url, target, scheme], cwd=HERE, check=True, timeout=90
            )
        finally:
            server.stop()
            model.stop()
            postgres.stop()
            remove(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
