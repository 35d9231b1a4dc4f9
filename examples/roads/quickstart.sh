# The roads example's numbers for run_scripts/quickstart.sh, which sources this file.
# shellcheck shell=bash disable=SC2034

rl_steps=32
sft_steps=200
max_prompt_tokens=48
max_response_tokens=80

make_data=(--train 2048 --test 256 --sampled 128 --seeded 2560 --replay 4608)

# The base model cannot construct yet, so a rule answers in its place. Few chats reflect, so that the cold-started model
# hardly ever does so by itself: REFLECTIVE says how many.
stores=(sampled seeded)
build=(--answers "$COMMON/teacher.py:answer" --sft "${REFLECTIVE:-26}" --ift 2048 --plain-share 0)
