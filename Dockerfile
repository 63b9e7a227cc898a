FROM apache/airflow:3.3.2-python3.11
COPY pyproject.toml README.md LICENSE /opt/goenhance/
COPY plugins/airflow_provider_goenhance /opt/goenhance/plugins/airflow_provider_goenhance
COPY include/sandbox /opt/goenhance/include/sandbox
COPY include/images /opt/goenhance/include/images
# With the versions that this image was released with. requirements.txt pins others, for environments without an Airflow.
RUN pip install --no-cache-dir --constraint "${HOME}/constraints.txt" \
        "apache-airflow==${AIRFLOW_VERSION}" "/opt/goenhance[postgres,manifests]" \
    && pip check
COPY dags /opt/airflow/dags
COPY include/manifests /opt/airflow/include/manifests
