# One image for every process of the Procfile; docker-compose.yml says which one a container is.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tiercel
WORKDIR /srv/tiercel
# The locked packages are a layer of their own: a change of our code doesn't install them again.
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN /opt/tiercel/bin/pip install --quiet --require-hashes -r requirements/build.lock -r requirements/runtime.lock
COPY . .
RUN /opt/tiercel/bin/pip install --quiet --no-deps --no-build-isolation --editable .

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/tiercel --create-home --shell /usr/sbin/nologin tiercel
COPY --from=build /opt/tiercel /opt/tiercel
COPY --from=build /srv/tiercel /srv/tiercel
ENV PATH=/opt/tiercel/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TIERCEL_HOME=/var/lib/tiercel \
    BIND=0.0.0.0 \
    LOG_FORMAT=json
WORKDIR /srv/tiercel
USER tiercel
# Docker gives a new volume its owner from here.
RUN install --directory --owner=tiercel --group=tiercel /var/lib/tiercel/metrics
# Flower's files; a volume put here belongs to the user above.
VOLUME /var/lib/tiercel
EXPOSE 8000
# Of the receiver, which is what the image runs when nothing else is said.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 8000)}/livez', timeout=2)"]
CMD ["gunicorn", "--config", "app/gunicorn_conf.py", "app.wsgi:flask_app"]
