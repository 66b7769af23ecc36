# One image for every radiolog process: the adapters, the stages, the sink and the command line.
#   docker build --tag radiolog .

FROM python:3.11-slim AS dependencies
WORKDIR /build
RUN python3 -m venv --without-pip /opt/radiolog
COPY requirements.lock ./
RUN pip --python /opt/radiolog install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

# setuptools builds the package and stays behind. --prefix puts the files by themselves, under the paths that they have
# in the environment, so that a change of the code is a small layer on top of the dependencies.
FROM dependencies AS package
RUN python3 -m venv /build/tools
COPY requirements-dev.lock ./
RUN awk '/^setuptools==/,!/\\$/' requirements-dev.lock > tools.lock \
    && tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r tools.lock
COPY . source
RUN tools/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
        --wheel-dir wheels source/ \
    && pip --python /opt/radiolog install --no-cache-dir --disable-pip-version-check --no-deps --no-index \
        --prefix /package wheels/*.whl

FROM python:3.11-slim
# A volume for objects takes its owner and mode from the folder that it is mounted on.
RUN useradd --uid 10001 --no-log-init --create-home --home-dir /var/lib/radiolog radiolog \
    && install --directory --owner radiolog --group radiolog --mode 0700 \
        /var/lib/radiolog/objects /var/lib/radiolog/instances
COPY --from=dependencies /opt/radiolog /opt/radiolog
COPY --from=package /package /opt/radiolog
ENV PATH=/opt/radiolog/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RADIOLOG_STATE_DIR=/var/lib/radiolog
USER radiolog
WORKDIR /var/lib/radiolog
ENTRYPOINT ["radiolog"]
CMD ["--help"]
