# The roads example's numbers for run_scripts/quickstart.sh, which sources this file.
# shellcheck shell=bash disable=SC2034

rl_steps=16
sft_steps=200
max_prompt_tokens=48
max_response_tokens=80

make_data=(--train 2048 --test 256 --sampled 128 --seeded 2560 --replay 4608)

# The base model cannot construct yet, so a rule answers in its place. So many chats reflect on a plain query, REFLECTIVE,
# and none by default: the cold-started model then hardly ever reflects by itself. It has no plain chats, since the
# correct rollouts that they would be drawn from reflect too.
stores=(sampled seeded)
build=(--answers "$TEACHER" --sft "${REFLECTIVE:-0}" --ift 2048 --plain-share 0)
