# The arithmetic example's numbers for run_scripts/quickstart.sh, which sources this file.
# shellcheck shell=bash disable=SC2034

rl_steps=20
sft_steps=340
max_prompt_tokens=96
max_response_tokens=192

make_data=(--train 2048 --test 256 --sampled 256 --seeded 9216)

# The base model cannot construct yet, so a rule answers in its place.
stores=(sampled seeded)
build=(--answers "$TEACHER" --sft 4096 --ift 4096 --plain-share 0.85)
