"""`python -m tests.console.picture docs/console.png`: a picture of the page, with demo leads and tasks at work."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.postgres import remove, throw_away_postgres
from tests.servers import Server

HERE = Path(__file__).parent
SETTINGS = {"CRM_WORKER_CONCURRENCY": "4", "CRM_WORKER_POLL_SECONDS": "0.1", "CRM_WORKER_GRACE_SECONDS": "0"}
SLOW = {"input": {"message": "Hej", "seconds": 45}, "timeoutSeconds": 60}
# `leadId` is a place in the list of leads.
TASKS = [
    *({"taskType": "task_recommendations", "leadId": lead} for lead in (0, 1, 2)),
    {"taskType": "lead_summary", "leadId": 3},
    {"taskType": "echo", "input": {"failures": 1}, "maxRetries": 0, "leadId": 4, "priority": "HIGH"},
    {"taskType": "echo", "input": {"seconds": 5}, "timeoutSeconds": 1, "maxRetries": 0, "agentId": "night shift"},
    {"taskType": "echo", "input": {"failures": 9}, "maxRetries": 9, "leadId": 5},
    {"taskType": "echo", **SLOW, "leadId": 6, "priority": "URGENT"},
    {"taskType": "echo", **SLOW, "leadId": 7, "priority": "HIGH", "agentId": "follow-up"},
    {"taskType": "echo", **SLOW, "leadId": 8, "priority": "HIGH"},
    {"taskType": "echo", **SLOW, "leadId": 9},
    {"taskType": "lead_summary", "leadId": 10},
    {"taskType": "task_recommendations", "leadId": 11, "priority": "LOW"},
    {"taskType": "lead_summary", "leadId": 12, "priority": "LOW", "scheduledFor": "2027-01-04T06:00:00Z"},
]


def call(server: Server, path: str, body: dict) -> dict:
    request = urllib.request.Request(
        f"{server.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request, timeout=10))


def create_all(server: Server) -> None:
    found = call(server, "/graphql", {"query": "{ leads(limit: 20) { id } }"})["data"]["leads"]
    for task in TASKS:
        about = {"leadId": int(found[task["leadId"]]["id"])} if "leadId" in task else {}
        call(server, "/api/ai/tasks", {**task, **about})


def main(picture: str, scheme: str = "light") -> None:
    postgres, folder = throw_away_postgres()
    postgres.start()
    with tempfile.TemporaryDirectory() as logs:
        server = Server(postgres.url, Path(logs) / "log", command=("dev",), **SETTINGS).start()
        try:
            create_all(server)
            target = str(Path(picture).resolve())
            subprocess.run(
                ["node", "browse.mjs", "picture", server.url, target, scheme], cwd=HERE, check=True, timeout=90
            )
        finally:
            server.stop()
            postgres.stop()
            remove(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
