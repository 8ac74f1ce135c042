# One image for every Airflow component and for the command line. Built from the same hash-locked requirements as .venv.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/linkarms \
 && /opt/linkarms/bin/pip install --no-cache-dir --require-hashes -r requirements/lock.txt
COPY pyproject.toml README.md LICENSE ./
COPY evidence/ evidence/
COPY expectations/ expectations/
COPY intake/ intake/
COPY linkage/ linkage/
COPY pipeline/ pipeline/
COPY protocol/ protocol/
COPY pseudonymise/ pseudonymise/
COPY synthetic/ synthetic/
COPY warehouse/ warehouse/
RUN /opt/linkarms/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 50000 --create-home --home-dir /home/linkarms linkarms \
 && install -d -o linkarms -g linkarms -m 0700 /var/lib/linkarms /var/lib/linkarms/inbox /var/lib/linkarms/outbox
COPY --from=build /opt/linkarms /opt/linkarms
COPY dags/ /opt/linkarms/dags/
ENV PATH=/opt/linkarms/bin:$PATH \
    LINKARMS_HOME=/var/lib/linkarms \
    AIRFLOW_HOME=/var/lib/linkarms/airflow
USER linkarms
WORKDIR /var/lib/linkarms
