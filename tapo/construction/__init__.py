"""From a wrong rollout to a micro-reflective trajectory (TAPO, section 3.3), in RL and in the cold start alike."""
