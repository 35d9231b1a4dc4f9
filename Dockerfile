# A run's environment: verl's published image (verl 0.9's own CI is built on it: torch 2.11, vLLM 0.24, CUDA 13), verl
# and this plugin.
#
#   docker build -t tapo-verl .
#   docker run --gpus all --ipc=host -v /data:/data -e MODEL=/data/model -e DATA=/data/parquets -e CONFIG=qwen3_1_7b tapo-verl
ARG VERL_IMAGE=verlai/verl:vllm024.dev2
FROM ${VERL_IMAGE}
COPY . /opt/tapo
# What the image chose of torch, vLLM and transformers stays.
RUN pip install --no-cache-dir "verl>=0.9.1" --no-deps && pip install --no-cache-dir /opt/tapo
WORKDIR /workspace
CMD ["bash", "-c", "exec bash \"$(tapo recipe path launch.sh)\""]
