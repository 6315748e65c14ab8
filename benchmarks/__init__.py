"""The race: slidemill beside others on one slide, each in a process and an environment of its own."""
