# The server in an image: docker build -t landline . && docker run --rm landline --version
# How it is meant to be run: docs/deploy.md, and compose.yaml for all of it on one machine.
# It listens for everybody, so it starts only when it is told how it knows who somebody is, such as
# LANDLINE_AUTH=jwt and LANDLINE_JWT_SECRET_FILE=/run/secrets/jwt-secret.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/landline
# The dependencies seldom change and have a layer of their own. Every file is checked by its hash.
COPY requirements.lock requirements-build.lock ./
RUN /opt/landline/bin/pip install --no-cache-dir --only-binary :all: --require-hashes \
        -r requirements.lock \
    && /opt/landline/bin/pip install --no-cache-dir --only-binary :all: --require-hashes \
        --target /build/backend -r requirements-build.lock
# All three packages of the distribution: `docker run landline verify --url ...` tries a deployment.
# The servers of a local stack are an extra, and are not installed.
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN PYTHONPATH=/build/backend \
    /opt/landline/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/landline landline
COPY --from=build /opt/landline /opt/landline
ENV PATH=/opt/landline/bin:$PATH \
    LANDLINE_HOST=0.0.0.0 \
    LANDLINE_PORT=8081 \
    LANDLINE_DATA_DIR=/var/lib/landline/data \
    LANDLINE_LOG_FORMAT=json
# By number, so that an orchestrator that forbids root can see that it is not root.
USER 10001
WORKDIR /var/lib/landline
# For the embedded server's data; a server of a cluster keeps nothing here.
VOLUME /var/lib/landline
EXPOSE 8081
# SIGTERM drains, which takes up to 15 s: stop with a grace of 20 s.
STOPSIGNAL SIGTERM
# Ignores the proxies of the environment. Reads the port from LANDLINE_PORT, not from arguments. With
# LANDLINE_TLS_CERT it asks by TLS, whoever the certificate is for: it is the same machine.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, ssl, urllib.request as u; port = os.environ.get('LANDLINE_PORT', ''); tls = os.environ.get('LANDLINE_TLS_CERT'); u.build_opener(u.ProxyHandler({}), u.HTTPSHandler(context=ssl._create_unverified_context())).open(('https' if tls else 'http') + '://127.0.0.1:' + (port if port.isdecimal() else '8081') + '/healthz', timeout=4)"]
ENTRYPOINT ["landline"]
CMD ["serve"]
