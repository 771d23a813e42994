# The API, the worker and every other command of `crm`: see docs/operations/docker.md.

# The GraphiQL page
FROM node:22-bookworm-slim AS page
WORKDIR /page
COPY crm/web/graphiql/package.json crm/web/graphiql/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY crm/web/graphiql/build.mjs ./
COPY crm/web/graphiql/src src
RUN node build.mjs

# The Python packages: all of the lock file are fetched and held against their hashes; what `crm` needs to run is installed
FROM python:3.11-slim-bookworm AS packages
WORKDIR /srv/crm
COPY requirements.lock ./
RUN python -m pip download --disable-pip-version-check --require-hashes --only-binary :all: --dest /wheels \
    --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY crm/__init__.py crm/
RUN python -m venv /opt/venv && /opt/venv/bin/python -m pip install --disable-pip-version-check \
    --no-index --find-links /wheels --editable .

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /srv/crm
COPY --from=packages /opt/venv /opt/venv
COPY alembic alembic
COPY crm crm
COPY --from=page /page/dist crm/web/graphiql/dist
RUN python -m compileall -q crm alembic && useradd --system --uid 10001 --no-create-home crm
USER 10001
EXPOSE 8000
# The API's; a worker has no port, so compose.yaml switches it off there
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["crm"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
