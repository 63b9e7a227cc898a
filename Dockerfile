FROM apache/airflow:3.3.2-python3.11
COPY requirements.txt pyproject.toml README.md LICENSE /opt/goenhance/
COPY plugins/airflow_provider_goenhance /opt/goenhance/plugins/airflow_provider_goenhance
COPY include/sandbox /opt/goenhance/include/sandbox
COPY include/images /opt/goenhance/include/images
RUN pip install --no-cache-dir -r /opt/goenhance/requirements.txt \
    && pip install --no-cache-dir --no-deps /opt/goenhance
COPY dags /opt/airflow/dags
COPY include/manifests /opt/airflow/include/manifests
