"""What the example tasks share: `examples.common.task` says what a task is."""
