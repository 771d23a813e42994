"""Ten demo leads with their scores' factors, as a chart and as a table: what docs/guides/scoring.md shows.

`python -m tests.bench.score_chart docs/guides/scoring.svg` writes the chart and prints the table.
"""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import psycopg

from crm.db import migrations
from crm.demo.load import load
from tests.bench import measure
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUERY = (
    "query Scores { leads(limit: 500, orderBy: [{field: ACTIVITY_SCORE, direction: DESC}]) {"
    " fullName company status activityScore scoreFactors { signal points maxPoints evidence } } }"
)
COLOURS = ("#1b4965", "#3a7ca5", "#5fa8d3", "#a8d5e5", "#e09f3e", "#f2cc8f", "#6a994e", "#a7c957")
WIDTH, NAMES, UNIT, ROW, TOP = 900, 260, 6, 30, 64


def ten_leads() -> list[dict[str, Any]]:
    """From the hottest to the coldest, over real sockets."""
    postgres, folder = throw_away_postgres(settings={})
    try:
        migrations.upgrade(postgres.start())
        with psycopg.connect(postgres.url) as connection:
            load(connection, 500, now=NOW)
            connection.commit()
        server = Server(postgres.url, Path(folder) / "log").start()
        leads = asyncio.run(_asked(server))
        server.stop()
    finally:
        postgres.stop()
        remove(folder)
    hottest = leads[0]["activityScore"]
    wanted = [hottest - round(hottest * index / 9) for index in range(10)]
    return [_nearest(leads, score) for score in wanted]


def _nearest(leads: list[dict[str, Any]], score: int) -> dict[str, Any]:
    return min(leads, key=lambda lead: abs(lead["activityScore"] - score))


async def _asked(server: Server) -> list[dict[str, Any]]:
    client = await measure.Client(server.port, server.token()).open()
    answer = json.loads(await client.send(QUERY, {}))
    client.close()
    found: list[dict[str, Any]] = answer["data"]["leads"]
    return found


def chart(leads: list[dict[str, Any]]) -> str:
    """One bar a lead, one colour a signal."""
    height = TOP + ROW * len(leads) + 10
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for index, factor in enumerate(leads[0]["scoreFactors"]):
        x, y = 14 + index % 4 * 220, 20 + index // 4 * 22
        label = f"{spelled(factor['signal'])} (of {factor['maxPoints']})"
        parts.append(f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{COLOURS[index]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y}">{label}</text>')
    for index, lead in enumerate(leads):
        parts += _bar(lead, TOP + index * ROW)
    return "\n".join([*parts, "</svg>", ""])


def _bar(lead: dict[str, Any], y: int) -> list[str]:
    name = escape(f"{lead['fullName']}, {lead['status'].lower()}")
    parts = [f'<text x="{NAMES - 10}" y="{y + 16}" text-anchor="end">{name}</text>']
    x = NAMES
    for colour, factor in zip(COLOURS, lead["scoreFactors"], strict=True):
        width = factor["points"] * UNIT
        title = escape(f"{spelled(factor['signal'])}: {factor['points']} — {factor['evidence']}")
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="22" fill="{colour}"><title>{title}</title></rect>')
        x += width
    return [*parts, f'<text x="{x + 6}" y="{y + 16}" font-weight="bold">{lead["activityScore"]}</text>']


def table(leads: list[dict[str, Any]]) -> str:
    """The same in Markdown, with the evidence of what gave points."""
    lines = ["| lead | score | because |", "|---|---|---|"]
    for lead in leads:
        because = "; ".join(
            f"{one['evidence']} ({one['points']})" for one in lead["scoreFactors"] if one["points"]
        ).replace("|", "\\|")
        lines.append(f"| {lead['fullName']}, {lead['company']} | {lead['activityScore']} | {because or 'nothing'} |")
    return "\n".join(lines)


def spelled(signal: str) -> str:
    return signal.replace("_", " ").capitalize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chart", type=Path)
    options = parser.parse_args()
    leads = ten_leads()
    options.chart.write_text(chart(leads), encoding="utf-8")
    sys.stdout.write(table(leads) + "\n")


if __name__ == "__main__":
    main()
