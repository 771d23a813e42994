"""procrastinate's worker alone, with a job that does nothing: what `make bench-tasks` compares with.

`python -m tests.bench.bare fill URL COUNT`, then `python -m tests.bench.bare work URL CONCURRENCY`.
"""

import sys

import procrastinate
import psycopg
import uvloop

QUEUE, JOB = "bare", "nothing"
_FILL = """
SELECT count(unnested) FROM unnest(procrastinate_defer_jobs_v1(ARRAY(
  SELECT ROW(%s, %s, 20, NULL, NULL, jsonb_build_object('task', gen_random_uuid()), NULL)::procrastinate_job_to_defer_v1
  FROM generate_series(1, %s)
))) AS unnested
"""


def fill(url: str, count: int) -> None:
    """Put that many jobs into the queue."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL, (QUEUE, JOB, count))


async def work(url: str, concurrency: int) -> None:
    """Run a worker as ours is run, without anything of ours."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=4))

    @app.task(name=JOB, queue=QUEUE)
    async def nothing(**_: object) -> None:
        pass

    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE], concurrency=concurrency, fetch_job_polling_interval=0.5, delete_jobs="always"
        )


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2], int(sys.argv[3]))
    else:
        uvloop.run(work(sys.argv[2], int(sys.argv[3])))
