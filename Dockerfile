# The page on a CPU:      docker build -t groundingdino . && docker run -p 7860:7860 groundingdino
# On a GPU (NVIDIA):      docker build -t groundingdino --build-arg TORCH_INDEX=https://pypi.org/simple .
#                         docker run --gpus all -p 7860:7860 groundingdino
# With a read-only root:  docker run --read-only --tmpfs /tmp -v models:/models -p 7860:7860 groundingdino
FROM python:3.12-slim

# CUDA is in PyTorch's packages on PyPI: the base is the same. Those of this index are gigabytes smaller.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r requirements.txt
COPY app.py ./
COPY assets assets
COPY groundingdino groundingdino

# Nothing of the program is written to: models go to /models, uploads and results to /tmp, where old ones are deleted.
RUN useradd --uid 1000 --no-create-home visitor && install -d -o visitor /models
USER visitor
VOLUME /models
ENV HF_HOME=/models \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_TEMP_DIR=/tmp/groundingdino \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
EXPOSE 7860

# `exec` form: SIGTERM reaches the program, which ends within five seconds.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
